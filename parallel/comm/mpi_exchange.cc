#include "parallel/comm/mpi_exchange.h"

#include "monitoring/error.h"

namespace trireme {
namespace {

using Kind = MpiMessages::Kind;

struct Incoming {
  Call header;
  MpiMessages::Batch header_batch;
  MpiMessages::Batch payload_batch;
  bool payload_asked = false;
  bool done = false;
};

Call header_of(const Call& call, const Tensor& tensor) {
  Call header = call;
  header.dtype = static_cast<std::int32_t>(tensor.dtype);
  header.bytes = tensor.bytes();
  return header;
}

void check_header(const Call& call, const Call& header, const Transfer& receive, const Members& members, int rank) {
  const Tensor& to = receive.tensor;
  if (header.step == call.step && header.bytes == to.bytes() && header.dtype == static_cast<std::int32_t>(to.dtype))
    return;
  throw PeerError(members.rank(receive.peer) + " sends " + std::to_string(header.bytes) + " bytes of " +
                  name_of(static_cast<DType>(header.dtype)) + " in " + to_string(header, members) + ", where " +
                  members.rank(rank) + " receives " + std::to_string(to.bytes()) + " bytes of " + name_of(to.dtype) +
                  " in " + to_string(call, members));
}

}  // namespace

void mpi_exchange(MpiMessages& messages, const Call& call, std::span<const Transfer> sends,
                  std::span<const Transfer> receives) {
  std::vector<Incoming> incoming(receives.size());
  for (std::size_t i = 0; i < receives.size(); ++i)
    messages.receive(incoming[i].header_batch, Kind::kHeader, receives[i].peer, &incoming[i].header, sizeof(Call));
  std::vector<Call> headers;
  for (const Transfer& send : sends) headers.push_back(header_of(call, send.tensor));
  MpiMessages::Batch outgoing;
  for (std::size_t i = 0; i < sends.size(); ++i) {
    messages.send(outgoing, Kind::kHeader, sends[i].peer, &headers[i], sizeof(Call));
    messages.send(outgoing, Kind::kPayload, sends[i].peer, sends[i].tensor.data, sends[i].tensor.bytes());
  }

  // A payload is asked for once its header, and those of earlier messages of the same peer, are here: MPI matches in
  // that order.
  const auto advance = [&](std::size_t i) {
    Incoming& message = incoming[i];
    if (message.done) return true;
    if (!message.payload_asked) {
      for (std::size_t j = 0; j < i; ++j)
        if (receives[j].peer == receives[i].peer && !incoming[j].payload_asked) return false;
      if (!messages.poll(message.header_batch)) return false;
      check_header(call, message.header, receives[i], messages.members(), messages.rank());
      messages.receive(message.payload_batch, Kind::kPayload, receives[i].peer, receives[i].tensor.data,
                       receives[i].tensor.bytes());
      message.payload_asked = true;
    }
    return message.done = messages.poll(message.payload_batch);
  };
  messages.wait_until(
      [&] {
        bool all = true;
        for (std::size_t i = 0; i < incoming.size(); ++i)
          if (!advance(i)) all = false;
        return messages.poll(outgoing) && all;
      },
      [&] {
        const Members& members = messages.members();
        std::string text = "Within " + to_string(call, members);
        for (std::size_t i = 0; i < incoming.size(); ++i)
          if (!incoming[i].done) text += ", nothing came from " + members.rank(receives[i].peer);
        if (!outgoing.empty()) {
          text += ", not all was taken by";
          for (const Transfer& send : sends) text += " " + members.rank(send.peer);
        }
        return text;
      });
}

}  // namespace trireme
