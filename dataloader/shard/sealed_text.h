// Manifests are text, so that people can read them; but text is edited, cut off and mixed up. So the first line of
// each, a comment, says what it is and states the digest of the rest. What follows is a protobuf message, whose reader
// checks what it says.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace google::protobuf {
class Message;
}

namespace trireme {

inline constexpr std::size_t kMaxSealedBytes = std::size_t{1} << 30;

// `first_line` is the line up to the digest: "# trireme data set; XXH3-128 of what follows: ".
std::string sealed_text(std::string_view first_line, const google::protobuf::Message& message);

// The other way. Returns what is wrong with the text; empty: nothing, and `message` is filled.
std::string read_sealed_text(std::string_view text, std::string_view first_line, google::protobuf::Message& message);

}  // namespace trireme
