// A web server of one file on a loopback port, for tests of downloads: byte ranges, and faults on request.
#pragma once
#include <atomic>
#include <string>
#include <thread>
#include <vector>

namespace wholestep::test {

class HttpServer {
 public:
  explicit HttpServer(std::string content);
  ~HttpServer();
  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_) + "/file"; }

  // Set these before the request they are for.
  std::atomic<bool> ranges = true;           ///< else a range is answered with the whole file
  std::atomic<size_t> cut_after = SIZE_MAX;  ///< bytes of the body after which the connection is dropped
  std::atomic<int> status = 200;             ///< 404 and the like are answered without the file
  std::atomic<int> requests = 0;
  std::atomic<size_t> sent_bytes = 0;  ///< of bodies, in all

 private:
  void serve();
  void answer(int connection);

  std::string content_;
  int listener_ = -1, port_ = 0;
  std::thread thread_;
};

}  // namespace wholestep::test
