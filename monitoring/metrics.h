// Whether a run is healthy must be visible from outside while it runs, with the tools that people already have. Every
// component makes its own counters, gauges and histograms from the registry it is given; the exporter serves them all
// as Prometheus' text at http://ADDRESS:PORT/metrics.
//
// - Names follow Prometheus' conventions (metric_name_problem says which) and labels are bounded: a metric has at most
//   kMaxLabels labels and kMaxSeries series; beyond that, values fold into one series whose labels all say "other".
// - Asking twice for the same name and labels gives the same instrument. Asking with another type or help is a bug.
// - Instruments are handles: copy them, use them from any thread, but not after their registry is gone. A
//   default-made handle records nothing, so that a component works without metrics.
// - A gauge costs some 10 ns, a histogram some 100 ns (measured).
#pragma once

#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace prometheus {
class Counter;
class Gauge;
class Histogram;
}  // namespace prometheus

namespace trireme {

// {{"source", "wikipedia"}}
using MetricLabels = std::vector<std::pair<std::string, std::string>>;

class CounterMetric {  // only grows
 public:
  CounterMetric() = default;
  void add(double amount = 1) const;  // amount >= 0
  double value() const;

 private:
  friend class MetricsRegistry;
  prometheus::Counter* counter_ = nullptr;
};

class GaugeMetric {  // goes up and down
 public:
  GaugeMetric() = default;
  void set(double value) const;
  double value() const;

 private:
  friend class MetricsRegistry;
  prometheus::Gauge* gauge_ = nullptr;
};

class HistogramMetric {  // how often which values came
 public:
  HistogramMetric() = default;
  void observe(double value) const;

 private:
  friend class MetricsRegistry;
  prometheus::Histogram* histogram_ = nullptr;
};

enum class MetricKind { kCounter, kGauge, kHistogram };

// Why `name` must not be the name of such a metric; empty if it may. It must read trireme_[a-z0-9_]+, end in _total if
// and only if it is a counter, leave the suffixes _bucket, _count, _sum to histograms, and use base units (_seconds,
// not _ms or _minutes; _bytes; _ratio, not _percent); a histogram ends in its unit.
// https://prometheus.io/docs/practices/naming/
std::string metric_name_problem(MetricKind kind, std::string_view name);
// The same for a label: [a-z][a-z0-9_]*, not le, quantile or what the scraper sets (job, instance).
std::string metric_label_problem(std::string_view name);

// Upper bounds from `first` on, each `factor` times the one before: exponential_buckets(0.01, 2, 12).
std::vector<double> exponential_buckets(double first, double factor, int count);

class MetricsRegistry {
 public:
  static constexpr int kMaxLabels = 3;
  static constexpr int kMaxSeries = 64;

  // `constant` labels stand on every series: {{"rank", "3"}}. They do not count as labels of a metric.
  MetricsRegistry(std::initializer_list<MetricLabels::value_type> constant = {});
  ~MetricsRegistry();
  MetricsRegistry(const MetricsRegistry&) = delete;
  MetricsRegistry& operator=(const MetricsRegistry&) = delete;

  // A bad name or label, or another kind under a name in use, fails a CHECK.
  CounterMetric counter(const std::string& name, const std::string& help, const MetricLabels& labels = {});
  GaugeMetric gauge(const std::string& name, const std::string& help, const MetricLabels& labels = {});
  // `bounds` rise strictly; +Inf is added.
  HistogramMetric histogram(const std::string& name, const std::string& help, const std::vector<double>& bounds,
                            const MetricLabels& labels = {});

  std::vector<std::string> names() const;  // sorted
  std::string text() const;                // as the exporter would serve it

 private:
  friend class Exporter;
  struct State;
  std::unique_ptr<State> state_;
};

// Serves the registry from threads of its own until it is destroyed. The registry must outlive it. There is no
// encryption and no password: bind it to loopback (the default), or to a network where everybody may read.
// Throws UserError, naming address and port, if the port is in use or the address is not this machine's.
class Exporter {
 public:
  explicit Exporter(const MetricsRegistry& registry, const std::string& address = "127.0.0.1", int port = 0);
  ~Exporter();
  Exporter(const Exporter&) = delete;
  Exporter& operator=(const Exporter&) = delete;

  int port() const;         // the real one, if 0 (any free one) was asked for
  std::string url() const;  // http://127.0.0.1:9400/metrics

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace trireme
