// PNG: decoding by libpng, with the same discipline about longjmp as jpeg.cpp; encoding is so little that it
// needs only zlib.
#include <fmt/format.h>
#include <png.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "wholestep/base/error.h"
#include "wholestep/io/image_formats.h"

namespace wholestep {
namespace {

constexpr std::array<uint8_t, 8> kSignature = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};

struct Decoder {
  png_structp png;
  png_infop info;
  const std::byte* next;
  size_t left;
  int passes;
  char message[200];
};

[[noreturn]] void on_error(png_structp png, png_const_charp message) {
  Decoder& decoder = *static_cast<Decoder*>(png_get_error_ptr(png));
  std::snprintf(decoder.message, sizeof decoder.message, "%s", message);
  png_longjmp(png, 1);
}

void on_warning(png_structp, png_const_charp) {}  // about ancillary chunks, which no pixel depends on

void on_read(png_structp png, png_bytep out, size_t count) {
  Decoder& decoder = *static_cast<Decoder*>(png_get_io_ptr(png));
  if (count > decoder.left) png_error(png, "the data ends too early");
  std::memcpy(out, decoder.next, count);
  decoder.next += count, decoder.left -= count;
}

bool start(Decoder& decoder) {
  decoder.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &decoder, on_error, on_warning);
  decoder.info = decoder.png ? png_create_info_struct(decoder.png) : nullptr;
  if (!decoder.info) return false;
  if (setjmp(png_jmpbuf(decoder.png))) return false;
  png_set_read_fn(decoder.png, &decoder, on_read);
  png_set_chunk_malloc_max(decoder.png, 1 << 20);
  png_set_chunk_cache_max(decoder.png, 64);
  png_set_crc_action(decoder.png, PNG_CRC_ERROR_QUIT, PNG_CRC_WARN_DISCARD);
  png_read_info(decoder.png, decoder.info);
  png_set_scale_16(decoder.png);
  png_set_palette_to_rgb(decoder.png);
  if (png_get_color_type(decoder.png, decoder.info) == PNG_COLOR_TYPE_GRAY)
    png_set_expand_gray_1_2_4_to_8(decoder.png);
  png_set_strip_alpha(decoder.png);
  decoder.passes = png_set_interlace_handling(decoder.png);
  return true;
}

bool update(Decoder& decoder) {
  if (setjmp(png_jmpbuf(decoder.png))) return false;
  png_read_update_info(decoder.png, decoder.info);
  return true;
}

bool decode_rows(Decoder& decoder, uint8_t* pixels, size_t row_bytes, size_t rows) {
  if (setjmp(png_jmpbuf(decoder.png))) return false;
  for (int pass = 0; pass < decoder.passes; ++pass)
    for (size_t row = 0; row < rows; ++row) png_read_row(decoder.png, pixels + row * row_bytes, nullptr);
  png_read_end(decoder.png, nullptr);
  return true;
}

struct DecoderGuard {
  Decoder decoder{};
  ~DecoderGuard() { png_destroy_read_struct(&decoder.png, &decoder.info, nullptr); }
};

void put_u32(Bytes& out, uint32_t value) {
  for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<std::byte>(value >> shift));
}

void put_chunk(Bytes& out, std::string_view type, ByteSpan content) {
  put_u32(out, static_cast<uint32_t>(content.size()));
  size_t start = out.size();
  out.insert(out.end(), bytes_of(type).begin(), bytes_of(type).end());
  out.insert(out.end(), content.begin(), content.end());
  put_u32(out, static_cast<uint32_t>(
                   crc32_z(0, reinterpret_cast<const Bytef*>(out.data() + start), out.size() - start)));
}

}  // namespace

bool is_png(ByteSpan bytes) {
  return bytes.size() >= kSignature.size() &&
         std::memcmp(bytes.data(), kSignature.data(), kSignature.size()) == 0;
}

Image decode_png(ByteSpan bytes, const std::string& name, const ImageLimits& limits) {
  DecoderGuard guard;
  Decoder& decoder = guard.decoder;
  decoder.next = bytes.data(), decoder.left = bytes.size();
  auto damaged = [&] {
    return Error(ErrorCode::kBadData,
                 {.what = "the PNG is damaged or cut off", .where = name, .got = decoder.message});
  };
  if (!start(decoder)) throw damaged();
  Image image{.height = png_get_image_height(decoder.png, decoder.info),
              .width = png_get_image_width(decoder.png, decoder.info)};
  check_image_size(image.height, image.width, name, limits);
  if (!update(decoder)) throw damaged();
  image.channels = png_get_channels(decoder.png, decoder.info);
  size_t row_bytes = png_get_rowbytes(decoder.png, decoder.info);
  WHOLESTEP_CHECK(row_bytes == static_cast<size_t>(image.width * image.channels));
  image.pixels.resize(row_bytes * static_cast<size_t>(image.height));
  if (!decode_rows(decoder, image.pixels.data(), row_bytes, static_cast<size_t>(image.height)))
    throw damaged();
  return image;
}

Bytes encode_png(const Image& image) {
  bool good = (image.channels == 1 || image.channels == 3) && image.height > 0 && image.width > 0 &&
              image.pixels.size() == static_cast<size_t>(image.height * image.width * image.channels);
  if (!good)
    throw Error(ErrorCode::kUsage, {.what = "not a picture that PNG can hold",
                                    .got = fmt::format("{} values for {}x{}x{}", image.pixels.size(),
                                                       image.height, image.width, image.channels)});
  Bytes header;
  put_u32(header, static_cast<uint32_t>(image.width));
  put_u32(header, static_cast<uint32_t>(image.height));
  for (int field :
       {8, image.channels == 3 ? 2 : 0, 0, 0, 0})  // bits, colour type, deflate, filters, no interlace
    header.push_back(static_cast<std::byte>(field));

  size_t row_bytes = static_cast<size_t>(image.width * image.channels);
  Bytes rows;  // each row starts with its filter: 0, none
  rows.reserve((row_bytes + 1) * static_cast<size_t>(image.height));
  for (size_t at = 0; at < image.pixels.size(); at += row_bytes) {
    rows.push_back(std::byte{0});
    ByteSpan row = std::as_bytes(std::span(image.pixels).subspan(at, row_bytes));
    rows.insert(rows.end(), row.begin(), row.end());
  }
  uLongf packed_bytes = compressBound(rows.size());
  Bytes packed(packed_bytes);
  WHOLESTEP_CHECK(compress2(reinterpret_cast<Bytef*>(packed.data()), &packed_bytes,
                            reinterpret_cast<const Bytef*>(rows.data()), rows.size(), 9) == Z_OK);
  packed.resize(packed_bytes);

  ByteSpan signature = std::as_bytes(std::span(kSignature));
  Bytes out(signature.begin(), signature.end());
  put_chunk(out, "IHDR", header);
  put_chunk(out, "IDAT", packed);
  put_chunk(out, "IEND", {});
  return out;
}

}  // namespace wholestep
