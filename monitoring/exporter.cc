#include <cerrno>
#include <cstring>
#include <exception>

#include <fmt/format.h>
#include <netdb.h>
#include <prometheus/exposer.h>
#include <sys/socket.h>
#include <unistd.h>

#include "monitoring/error.h"
#include "monitoring/metrics.h"
#include "monitoring/metrics_state.h"

namespace trireme {
namespace {

std::string endpoint(const std::string& address, int port) {
  return address.find(':') == address.npos ? fmt::format("{}:{}", address, port)
                                           : fmt::format("[{}]:{}", address, port);
}

// Why the address cannot be listened on, by trying: the server's own exception does not say.
std::string bind_problem(const std::string& address, int port) {
  addrinfo wanted{}, *found = nullptr;
  wanted.ai_flags = AI_NUMERICHOST | AI_PASSIVE;
  wanted.ai_socktype = SOCK_STREAM;
  if (getaddrinfo(address.c_str(), std::to_string(port).c_str(), &wanted, &found) != 0) return "not an IP address";
  std::string problem;
  const int listener = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const int reuse = 1;
  if (listener >= 0) setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &reuse, sizeof reuse);
  if (listener < 0 || bind(listener, found->ai_addr, found->ai_addrlen) != 0 || listen(listener, 1) != 0)
    problem = std::strerror(errno);
  if (listener >= 0) close(listener);
  freeaddrinfo(found);
  return problem;
}

}  // namespace

struct Exporter::State {
  std::string address;
  std::unique_ptr<prometheus::Exposer> exposer;
  int port = 0;
};

Exporter::Exporter(const MetricsRegistry& registry, const std::string& address, int port)
    : state_(std::make_unique<State>()) {
  if (port < 0 || port > 65535)
    throw UserError(fmt::format("metrics: {} is not a port. Give one from 1 to 65535, or 0 for any free one.", port));
  state_->address = address;
  try {
    state_->exposer = std::make_unique<prometheus::Exposer>(endpoint(address, port), 1);
    state_->port = state_->exposer->GetListeningPorts().at(0);
  } catch (const std::exception& error) {
    std::string reason = bind_problem(address, port);
    if (reason.empty()) reason = error.what();
    throw UserError(
        fmt::format("metrics: cannot serve on {} port {}: {}. Free that port, give another, or give 0 for "
                    "any free one.",
                    address, port, reason));
  }
  state_->exposer->RegisterCollectable(registry.state_->registry);
}

Exporter::~Exporter() = default;

int Exporter::port() const { return state_->port; }

std::string Exporter::url() const { return fmt::format("http://{}/metrics", endpoint(state_->address, state_->port)); }

}  // namespace trireme
