// Loading a checkpoint and writing it again must give the same bytes, whoever does it: this is the test of promise 1
// that anybody can run on their own checkpoint, with any number of ranks.
#pragma once

#include <filesystem>

#include "cuda/core/device.h"
#include "cuda/ops/kernels.h"
#include "parallel/comm/communicator.h"
#include "trainer/model.pb.h"

namespace trireme {

// Reads the checkpoint `in`, verifying it, and writes it as `out`, which must not exist. `model` is that of its
// config.json. Collective. Throws DamagedDataError or UserError.
void resave(Device& device, const Kernels& ops, Communicator& world, const config::Model& model,
            const std::filesystem::path& in, const std::filesystem::path& out);

}  // namespace trireme
