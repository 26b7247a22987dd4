#include "support/http_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <stdexcept>

namespace wholestep::test {

HttpServer::HttpServer(std::string content) : content_(std::move(content)) {
  listener_ = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  if (::bind(listener_, reinterpret_cast<sockaddr*>(&address), size) != 0 || ::listen(listener_, 8) != 0 ||
      ::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size) != 0)
    throw std::runtime_error("no loopback port to listen on");
  port_ = ntohs(address.sin_port);
  thread_ = std::thread([this] { serve(); });
}

HttpServer::~HttpServer() {
  ::shutdown(listener_, SHUT_RDWR);  // wakes accept
  thread_.join();
  ::close(listener_);
}

void HttpServer::serve() {
  while (true) {
    int connection = ::accept(listener_, nullptr, nullptr);
    if (connection < 0) return;
    answer(connection);
    ::close(connection);
  }
}

void HttpServer::answer(int connection) {
  std::string request;
  char piece[4096];
  while (request.find("\r\n\r\n") == std::string::npos) {
    ssize_t got = ::recv(connection, piece, sizeof piece, 0);
    if (got <= 0) return;
    request.append(piece, static_cast<size_t>(got));
  }
  ++requests;
  size_t start = 0;
  if (size_t at = request.find("Range: bytes="); ranges && at != std::string::npos)
    start = std::stoull(request.substr(at + 13));
  std::string body = status != 200 || start >= content_.size() ? "" : content_.substr(start);
  int code = status != 200 ? status.load() : start == 0 ? 200 : start < content_.size() ? 206 : 416;
  std::string head = "HTTP/1.1 " + std::to_string(code) +
                     " X\r\nConnection: close\r\nContent-Length: " + std::to_string(body.size()) + "\r\n";
  if (code == 206)
    head += "Content-Range: bytes " + std::to_string(start) + "-" + std::to_string(content_.size() - 1) +
            "/" + std::to_string(content_.size()) + "\r\n";
  body.resize(std::min(body.size(), cut_after.load()));
  sent_bytes += body.size();
  std::string all = head + "\r\n" + body;
  for (size_t done = 0; done < all.size();) {
    ssize_t got = ::send(connection, all.data() + done, all.size() - done, MSG_NOSIGNAL);
    if (got <= 0) return;
    done += static_cast<size_t>(got);
  }
}

}  // namespace wholestep::test
