#include <gtest/gtest.h>

#include "tests/gpu/memory/fault.h"
#include "tests/gpu/ptx/module.h"

namespace trireme::gpu {
namespace {

const std::string kHeader = ".version 9.0\n.target sm_80\n.address_size 64\n";

const Function& only_function(const Module& module) { return *module.functions.at(0); }

TEST(Parse, ParametersLieAsTheirAlignmentSays) {
  const Module module =
      parse(kHeader +
            ".visible .entry k(.param .u32 a, .param .u64 .ptr .global .align 16 b,\n"
            " .param .align 8 .b8 list[20], .param .u8 c) .maxntid 256, 2, 1 .minnctapersm 2 { ret; }");
  const Function& kernel = only_function(module);
  EXPECT_TRUE(kernel.is_kernel);
  EXPECT_EQ(kernel.max_threads, 512u);
  EXPECT_EQ(kernel.min_blocks, 2u);
  ASSERT_EQ(kernel.parameters.size(), 4u);
  EXPECT_EQ(kernel.parameters[1].offset, 8u);
  EXPECT_EQ(kernel.parameters[2].offset, 16u);
  EXPECT_EQ(kernel.parameters[2].bytes, 20u);
  EXPECT_EQ(kernel.parameters[3].offset, 36u);
  EXPECT_EQ(kernel.parameter_bytes, 37u);
}

TEST(Parse, AnAddressKeepsItsOffsetOfEitherSign) {
  const Module module =
      parse(kHeader + ".entry k() { ld.global.v2.f32 {%f1, _}, [%rd1+24]; st.shared.u32 [%r2+-8], -3; }");
  const auto& statements = only_function(module).statements;
  EXPECT_EQ(statements[0].operands[1].offset, 24);
  EXPECT_EQ(statements[0].operands[1].parts[0].name, "%rd1");
  EXPECT_EQ(statements[0].operands[0].parts[1].kind, Operand::Kind::kSink);
  EXPECT_EQ(statements[1].operands[0].offset, -8);
  EXPECT_EQ(statements[1].operands[1].bits, ~std::uint64_t{2});
}

TEST(Parse, VariablesHoldTheirInitialBytesAndAddresses) {
  const Module module = parse(kHeader +
                              ".const .align 4 .f32 half[2] = {0f3F000000, 0fBF000000};\n"
                              ".global .align 8 .u64 pointers[2] = {half, generic(half)+4};\n"
                              ".extern .shared .align 16 .b8 dynamic[];\n");
  ASSERT_EQ(module.variables.size(), 3u);
  EXPECT_EQ(module.variables[0].bytes, 8u);
  EXPECT_EQ(module.variables[0].initial[3], std::byte{0x3F});
  EXPECT_EQ(module.variables[0].initial[7], std::byte{0xBF});
  ASSERT_EQ(module.variables[1].addresses.size(), 2u);
  EXPECT_EQ(module.variables[1].addresses[1].addend, 4);
  EXPECT_TRUE(module.variables[2].external);
  EXPECT_EQ(module.variables[2].bytes, 0u);
}

TEST(Parse, NamesOfInnerBlocksAreTheirOwn) {
  const Module module = parse(kHeader +
                              ".entry k() { .reg .pred %p<3>; .reg .b32 %r<4>;\n"
                              "{ .reg .pred %p1; LOOP: setp.ne.u32 %p1, %r1, 0; @%p1 bra LOOP; }\n"
                              "{ .reg .pred %p1; LOOP: setp.eq.u32 %p1, %r1, 0; @!%p1 bra LOOP; }\n"
                              "@%p1 bra END; END: ret; }");
  const auto& statements = only_function(module).statements;
  EXPECT_EQ(statements[1].operands[0].name, statements[2].guard);
  EXPECT_EQ(statements[0].label, statements[2].operands[0].name);
  EXPECT_NE(statements[1].operands[0].name, statements[4].operands[0].name);
  EXPECT_NE(statements[0].label, statements[3].label);
  EXPECT_EQ(statements[6].guard, "%p1");
  EXPECT_TRUE(statements[5].guard_negated);
}

TEST(Parse, HintsAndBranchTablesStayWithTheirInstruction) {
  const Module module =
      parse(kHeader +
            ".entry k() { .reg .b32 %r<2>; ld.global.L1::no_allocate.v4.u32 {%r1,%r1,%r1,%r1}, [%rd1];\n"
            "table: .branchtargets A, B;\nbrx.idx %r1, table; A: B: ret; }");
  const auto& statements = only_function(module).statements;
  EXPECT_EQ(statements[0].modifiers, (std::vector<std::string>{"global", "L1::no_allocate", "v4", "u32"}));
  EXPECT_EQ(statements[1].targets, (std::vector<std::string>{"A", "B"}));
  EXPECT_EQ(statements[0].line, 4);
  EXPECT_EQ(statements[0].text, "ld.global.L1::no_allocate.v4.u32 {%r1,%r1,%r1,%r1}, [%rd1]");
}

TEST(Parse, WhatIsNoPtxIsRefusedWithItsLine) {
  try {
    parse(kHeader + ".entry k() {\n add.u32 %r1 %r2; }");
    FAIL() << "parsed";
  } catch (const Fault& fault) {
    EXPECT_EQ(fault.finding(), Finding::kBadPtx);
    EXPECT_NE(std::string(fault.what()).find("line 5"), std::string::npos) << fault.what();
  }
}

}  // namespace
}  // namespace trireme::gpu
