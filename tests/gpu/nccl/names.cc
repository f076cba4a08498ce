// Words for messages, and sizes. See operations.h.
#include "tests/gpu/nccl/operations.h"

namespace trireme::gpu::nccl {

const char* name(Kind kind) {
  switch (kind) {
    case Kind::kAllReduce:
      return "all_reduce";
    case Kind::kReduceScatter:
      return "reduce_scatter";
    case Kind::kAllGather:
      return "all_gather";
    case Kind::kBroadcast:
      return "broadcast";
    case Kind::kReduce:
      return "reduce";
    case Kind::kSend:
      return "send";
    case Kind::kReceive:
      return "receive";
  }
  return "?";
}

const char* name(ncclDataType_t type) {
  switch (type) {
    case ncclInt8:
      return "int8";
    case ncclUint8:
      return "uint8";
    case ncclInt32:
      return "int32";
    case ncclUint32:
      return "uint32";
    case ncclInt64:
      return "int64";
    case ncclUint64:
      return "uint64";
    case ncclFloat16:
      return "float16";
    case ncclFloat32:
      return "float32";
    case ncclFloat64:
      return "float64";
    case ncclBfloat16:
      return "bfloat16";
    default:
      return "an unknown type";
  }
}

std::size_t bytes_of(ncclDataType_t type) {
  switch (type) {
    case ncclInt8:
    case ncclUint8:
      return 1;
    case ncclFloat16:
    case ncclBfloat16:
      return 2;
    case ncclInt32:
    case ncclUint32:
    case ncclFloat32:
      return 4;
    case ncclInt64:
    case ncclUint64:
    case ncclFloat64:
      return 8;
    default:
      return 0;
  }
}

std::string text(const Notice& notice) {
  static constexpr const char* kOps[] = {"sum", "product", "maximum", "minimum", "average"};
  const auto kind = static_cast<Kind>(notice.kind);
  std::string words = std::string(name(kind)) + " of " + std::to_string(notice.count) + " " +
                      name(static_cast<ncclDataType_t>(notice.type));
  if (kind == Kind::kAllReduce || kind == Kind::kReduceScatter || kind == Kind::kReduce)
    words.append(" (").append(kOps[notice.op]).append(")");
  if (kind == Kind::kBroadcast || kind == Kind::kReduce)
    words.append(" with root ").append(std::to_string(notice.root));
  if (notice.number > 0) words.append(", collective ").append(std::to_string(notice.number));
  return words;
}

}  // namespace trireme::gpu::nccl
