// zlib's inflate behind a ByteSource, member by member.
#include "wholestep/io/gzip.h"

#include <fmt/format.h>
#include <zlib.h>

#include <algorithm>

#include "wholestep/base/error.h"
#include "wholestep/io/checked_size.h"

namespace wholestep {
namespace {

constexpr int kGzipWindow = 15 + 16;      // zlib: 32 KiB window, gzip framing with CRC
constexpr uint64_t kMaxExpansion = 1032;  // deflate's largest ratio: 258 bytes out of 2 bits

class GunzipSource final : public ByteSource {
 public:
  explicit GunzipSource(std::unique_ptr<ByteSource> packed) : packed_(std::move(packed)), buffer_(1 << 16) {
    WHOLESTEP_CHECK(inflateInit2(&stream_, kGzipWindow) == Z_OK);
  }
  ~GunzipSource() override { inflateEnd(&stream_); }
  GunzipSource(const GunzipSource&) = delete;
  GunzipSource& operator=(const GunzipSource&) = delete;

  size_t read(std::span<std::byte> out) override {
    size_t done = 0;
    while (done < out.size() && !finished_) done += inflate_into(out.subspan(done));
    return done;
  }
  uint64_t remaining_bound() const override {
    if (finished_) return 0;
    // What zlib still holds back fits in its window.
    CheckedSize bound =
        (CheckedSize(packed_->remaining_bound()) + stream_.avail_in) * kMaxExpansion + (uint64_t{1} << 16);
    return bound.ok() ? bound.value() : UINT64_MAX;
  }
  std::string where() const override { return fmt::format("{}, unpacked", packed_->where()); }

 private:
  void refill() {
    if (stream_.avail_in) return;
    stream_.next_in = reinterpret_cast<Bytef*>(buffer_.data());
    stream_.avail_in = static_cast<uInt>(packed_->read(buffer_));
  }

  size_t inflate_into(std::span<std::byte> out) {
    refill();
    uInt room = static_cast<uInt>(std::min(out.size(), size_t{1} << 30));
    stream_.next_out = reinterpret_cast<Bytef*>(out.data());
    stream_.avail_out = room;
    switch (inflate(&stream_, Z_NO_FLUSH)) {
      case Z_OK: break;
      case Z_STREAM_END: end_member(); break;
      case Z_BUF_ERROR: throw damaged("the packed data is cut off");
      case Z_MEM_ERROR: throw std::bad_alloc();
      default: throw damaged("the packed data is damaged");
    }
    return room - stream_.avail_out;
  }

  // A gzip file may hold several members, whose contents follow each other.
  void end_member() {
    refill();
    if (stream_.avail_in == 0) {
      finished_ = true;
    } else {
      inflateReset(&stream_);
    }
  }

  Error damaged(const char* what) const {
    return Error(ErrorCode::kBadData, {.what = what,
                                       .where = packed_->where(),
                                       .got = stream_.msg ? stream_.msg : "",
                                       .hint = "fetch or pack the file again"});
  }

  std::unique_ptr<ByteSource> packed_;
  Bytes buffer_;
  z_stream stream_{};
  bool finished_ = false;
};

}  // namespace

bool is_gzip(ByteSpan start) {
  return start.size() >= 2 && start[0] == std::byte{0x1f} && start[1] == std::byte{0x8b};
}

std::unique_ptr<ByteSource> open_gunzip(std::unique_ptr<ByteSource> packed) {
  return std::make_unique<GunzipSource>(std::move(packed));
}

Bytes gunzip(ByteSpan packed, uint64_t limit_bytes, const std::string& name) {
  auto source = open_gunzip(open_bytes(packed, name));
  Bytes plain;
  while (true) {
    // Grows with what really came out, never by what the input claims; one byte over the limit shows excess.
    size_t have = plain.size(), step = std::max<size_t>(have, size_t{1} << 16);
    plain.resize(have + static_cast<size_t>(std::min<uint64_t>(step, limit_bytes - have + 1)));
    size_t got = source->read(std::span(plain).subspan(have));
    bool ended = have + got < plain.size();
    plain.resize(have + got);
    if (plain.size() > limit_bytes)
      throw Error(ErrorCode::kBadData, {.what = "the data is too large once unpacked",
                                        .where = name,
                                        .expected = fmt::format("at most {} bytes", limit_bytes)});
    if (ended) return plain;
  }
}

Bytes gzip(ByteSpan plain, int level) {
  z_stream stream{};
  WHOLESTEP_CHECK(deflateInit2(&stream, level, Z_DEFLATED, kGzipWindow, 8, Z_DEFAULT_STRATEGY) == Z_OK);
  Bytes packed;
  std::byte piece[1 << 15];
  int status = Z_OK;
  while (status != Z_STREAM_END) {
    if (stream.avail_in == 0 && !plain.empty()) {
      size_t count = std::min(plain.size(), size_t{1} << 30);
      stream.next_in = reinterpret_cast<Bytef*>(const_cast<std::byte*>(plain.data()));
      stream.avail_in = static_cast<uInt>(count);
      plain = plain.subspan(count);
    }
    stream.next_out = reinterpret_cast<Bytef*>(piece);
    stream.avail_out = sizeof piece;
    status = deflate(&stream, plain.empty() ? Z_FINISH : Z_NO_FLUSH);
    packed.insert(packed.end(), piece, piece + (sizeof piece - stream.avail_out));
  }
  deflateEnd(&stream);
  return packed;
}

}  // namespace wholestep
