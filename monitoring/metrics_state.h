// What a MetricsRegistry holds; apart from its header so that Prometheus' headers stay out of everybody's. Only for
// monitoring/.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include <prometheus/registry.h>

#include "monitoring/metrics.h"

namespace trireme {

struct MetricsRegistry::State {
  struct Metric {
    MetricKind kind;
    std::string help;
    std::vector<double> bounds;
    MetricLabels first_labels;  // whose names every series has
    std::set<MetricLabels> series;
  };

  // The labels under which the series is to be kept, after every rule is checked. Holds `mutex`.
  MetricLabels admit(MetricKind kind, const std::string& name, const std::string& help,
                     const std::vector<double>& bounds, MetricLabels labels);

  MetricLabels constant;
  std::mutex mutex;
  std::map<std::string, Metric> metrics;  // guarded by mutex
  std::shared_ptr<prometheus::Registry> registry = std::make_shared<prometheus::Registry>();
};

}  // namespace trireme
