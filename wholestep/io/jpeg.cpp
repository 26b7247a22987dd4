// JPEG by libjpeg. The library reports errors by longjmp, so the functions it can jump out of hold plain data
// only, and everything with a destructor lives in their callers.
#include <fmt/format.h>

#include <csetjmp>
#include <cstdio>
// libjpeg's header needs size_t and FILE declared before it.
#include <jpeglib.h>

#include "wholestep/base/error.h"
#include "wholestep/io/image_formats.h"

namespace wholestep {
namespace {

constexpr int kMaxScans = 200;  // a progressive file can ask for thousands of passes over one picture

struct Decoder {
  jpeg_decompress_struct jpeg;
  jpeg_error_mgr errors;
  jpeg_progress_mgr progress;
  std::jmp_buf failed;
  char message[JMSG_LENGTH_MAX];
};

Decoder& decoder_of(j_common_ptr jpeg) { return *static_cast<Decoder*>(jpeg->client_data); }

[[noreturn]] void on_error(j_common_ptr jpeg) {
  Decoder& decoder = decoder_of(jpeg);
  jpeg->err->format_message(jpeg, decoder.message);
  std::longjmp(decoder.failed, 1);
}

// A warning means pixels that were made up: damaged data, so the same as an error.
void on_message(j_common_ptr jpeg, int level) {
  if (level < 0) on_error(jpeg);
}

void on_progress(j_common_ptr jpeg) {
  Decoder& decoder = decoder_of(jpeg);
  if (decoder.jpeg.input_scan_number <= kMaxScans) return;
  std::snprintf(decoder.message, sizeof decoder.message, "more than %d scans", kMaxScans);
  std::longjmp(decoder.failed, 1);
}

bool start(Decoder& decoder, const std::byte* bytes, size_t size) {
  decoder.jpeg.err = jpeg_std_error(&decoder.errors);
  decoder.errors.error_exit = on_error;
  decoder.errors.emit_message = on_message;
  decoder.jpeg.client_data = &decoder;
  if (setjmp(decoder.failed)) return false;
  jpeg_create_decompress(&decoder.jpeg);
  decoder.jpeg.client_data = &decoder;
  decoder.progress.progress_monitor = on_progress;
  decoder.jpeg.progress = &decoder.progress;
  jpeg_mem_src(&decoder.jpeg, reinterpret_cast<const unsigned char*>(bytes), size);
  jpeg_read_header(&decoder.jpeg, TRUE);
  return true;
}

// Rows of `row_bytes` into `pixels`.
bool decode_rows(Decoder& decoder, uint8_t* pixels, size_t row_bytes) {
  if (setjmp(decoder.failed)) return false;
  jpeg_start_decompress(&decoder.jpeg);
  while (decoder.jpeg.output_scanline < decoder.jpeg.output_height) {
    JSAMPROW row = pixels + decoder.jpeg.output_scanline * row_bytes;
    jpeg_read_scanlines(&decoder.jpeg, &row, 1);
  }
  jpeg_finish_decompress(&decoder.jpeg);
  return true;
}

struct DecoderGuard {
  Decoder decoder{};
  ~DecoderGuard() { jpeg_destroy_decompress(&decoder.jpeg); }
};

}  // namespace

bool is_jpeg(ByteSpan bytes) {
  return bytes.size() >= 3 && bytes[0] == std::byte{0xff} && bytes[1] == std::byte{0xd8} &&
         bytes[2] == std::byte{0xff};
}

Image decode_jpeg(ByteSpan bytes, const std::string& name, const ImageLimits& limits) {
  DecoderGuard guard;
  Decoder& decoder = guard.decoder;
  auto damaged = [&] {
    return Error(ErrorCode::kBadData,
                 {.what = "the JPEG is damaged or cut off", .where = name, .got = decoder.message});
  };
  if (!start(decoder, bytes.data(), bytes.size())) throw damaged();
  Image image{.height = decoder.jpeg.image_height, .width = decoder.jpeg.image_width};
  check_image_size(image.height, image.width, name, limits);
  image.channels = decoder.jpeg.num_components;
  if (image.channels != 1 && image.channels != 3)
    throw Error(ErrorCode::kBadData, {.what = "unsupported JPEG colours",
                                      .where = name,
                                      .got = fmt::format("{} components", image.channels),
                                      .expected = "grey or RGB",
                                      .hint = "convert the picture from CMYK to RGB"});
  decoder.jpeg.out_color_space = image.channels == 1 ? JCS_GRAYSCALE : JCS_RGB;
  image.pixels.resize(static_cast<size_t>(image.height * image.width * image.channels));
  if (!decode_rows(decoder, image.pixels.data(), static_cast<size_t>(image.width * image.channels)))
    throw damaged();
  return image;
}

}  // namespace wholestep
