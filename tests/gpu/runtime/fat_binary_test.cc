#include "tests/gpu/runtime/fat_binary.h"

#include <cstring>

#include <gmock/gmock.h>

#include "tests/gpu/runtime/finding.h"
#include "tests/scratch.h"

namespace trireme::gpu {
namespace {

// Bytes as nvcc writes them, put together by hand from the layout in fat_binary.h.
struct FatBinary {
  std::vector<char> bytes = std::vector<char>(16);
  struct {
    std::uint32_t magic = 0x466243b1;
    std::uint32_t version = 1;
    const char* binary = nullptr;
    const void* more = nullptr;
  } wrapper;

  template <class T>
  static void put(std::vector<char>& to, std::size_t at, T value) {
    std::memcpy(to.data() + at, &value, sizeof value);
  }
  void add(std::uint16_t kind, std::uint32_t arch, const std::string& payload, std::uint32_t compressed = 0) {
    std::vector<char> header(kind == 1 ? 72 : 64);
    const std::size_t padded = (payload.size() + 8) / 8 * 8;
    put<std::uint16_t>(header, 0, kind);
    put<std::uint32_t>(header, 4, static_cast<std::uint32_t>(header.size()));
    put<std::uint64_t>(header, 8, padded);
    put<std::uint32_t>(header, 16, compressed);
    put<std::uint32_t>(header, 28, arch);
    bytes.insert(bytes.end(), header.begin(), header.end());
    bytes.insert(bytes.end(), payload.begin(), payload.end());
    bytes.resize(bytes.size() + padded - payload.size());
  }
  const void* finished() {
    put<std::uint32_t>(bytes, 0, 0xba55ed50);
    put<std::uint16_t>(bytes, 4, 1);
    put<std::uint16_t>(bytes, 6, 16);
    put<std::uint64_t>(bytes, 8, bytes.size() - 16);
    wrapper.binary = bytes.data();
    return &wrapper;
  }
};

TEST(GpuFatBinary, TheNewestPtxThatTheDeviceCanCompileIsTaken) {
  FatBinary binary;
  binary.add(2, 90, "machine code");
  binary.add(1, 80, "ptx of 80");
  binary.add(1, 90, "ptx of 90");
  binary.add(1, 100, "ptx of 100");
  const std::vector<FatBinaryEntry> entries = read_fat_binary(binary.finished());
  EXPECT_EQ(entries.size(), 4U);
  EXPECT_EQ(ptx_for(entries, 80), "ptx of 80");
  EXPECT_EQ(ptx_for(entries, 90), "ptx of 90");
  EXPECT_EQ(ptx_for(entries, 120), "ptx of 100");
  EXPECT_EQ(registers_of(entries, 90, "kernel"), 0);
}

TEST(GpuFatBinary, WhatCannotBeReadIsRefusedWithWhatToDo) {
  FatBinary newer;
  newer.add(1, 90, "ptx of 90");
  EXPECT_THAT(message_of<Refusal>([&] { ptx_for(read_fat_binary(newer.finished()), 80); }),
              testing::HasSubstr("compile with -gencode arch=compute_80,code=compute_80"));
  FatBinary compressed;
  compressed.add(1, 80, "squeezed", 8);
  EXPECT_THAT(message_of<Refusal>([&] { ptx_for(read_fat_binary(compressed.finished()), 80); }),
              testing::HasSubstr("nvcc --no-compress"));
  FatBinary relocatable;
  relocatable.wrapper.version = 2;
  EXPECT_THAT(message_of<Refusal>([&] { read_fat_binary(relocatable.finished()); }), testing::HasSubstr("-rdc"));
  FatBinary cut;
  cut.add(1, 80, "ptx of 80");
  cut.bytes.resize(cut.bytes.size() - 8);
  EXPECT_THAT(message_of<Refusal>([&] { read_fat_binary(cut.finished()); }), testing::HasSubstr("longer than"));
}

}  // namespace
}  // namespace trireme::gpu
