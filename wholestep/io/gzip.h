// gzip both ways. Unpacking checks length and CRC of every member and refuses what follows the last.
#pragma once
#include <memory>
#include <string>

#include "wholestep/io/byte_source.h"

namespace wholestep {

bool is_gzip(ByteSpan start);  ///< whether the first two bytes are gzip's magic

/// Unpacks `packed` while it is read. kBadData naming the byte of the packed stream where it is damaged or
/// cut off; the end of the stream is only reported (as fewer bytes) after the last CRC has been found right.
std::unique_ptr<ByteSource> open_gunzip(std::unique_ptr<ByteSource> packed);

/// All of it at once; kBadData also where more than `limit_bytes` come out.
Bytes gunzip(ByteSpan packed, uint64_t limit_bytes, const std::string& name);

/// One member, without name or time: equal input gives equal bytes. Level 1 (fast) to 9 (small).
Bytes gzip(ByteSpan plain, int level = 6);

}  // namespace wholestep
