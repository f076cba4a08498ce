#include "monitoring/metrics.h"

#include <algorithm>
#include <array>
#include <map>
#include <mutex>

#include <fmt/format.h>
#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include "monitoring/check.h"
#include "monitoring/metrics_state.h"

namespace trireme {
namespace {

bool is_name(std::string_view name) {
  return !name.empty() && name[0] >= 'a' && name[0] <= 'z' && std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  });
}

prometheus::Labels to_prometheus(const MetricLabels& labels) { return {labels.begin(), labels.end()}; }

}  // namespace

std::string metric_name_problem(MetricKind kind, std::string_view name) {
  const std::string quoted = fmt::format("'{}'", name);
  if (!is_name(name)) return quoted + " is not made of a-z, 0-9 and _";
  if (!name.starts_with("trireme_")) return quoted + " does not begin with trireme_";
  if (name.ends_with('_') || name.find("__") != name.npos) return quoted + " has an empty word between two _";
  for (const std::string_view reserved : {"_bucket", "_count", "_sum", "_created", "_info"})
    if (name.ends_with(reserved)) return quoted + " ends in " + std::string(reserved) + ", which Prometheus reserves";

  std::string_view stem = name;
  if (kind == MetricKind::kCounter) {
    if (!name.ends_with("_total")) return quoted + " is a counter and does not end in _total";
    stem.remove_suffix(std::string_view("_total").size());
  } else if (name.ends_with("_total")) {
    return quoted + " ends in _total and is no counter";
  }
  static constexpr std::array<std::pair<std::string_view, std::string_view>, 15> kNotBase = {{
      {"_ms", "_seconds"},
      {"_us", "_seconds"},
      {"_ns", "_seconds"},
      {"_milliseconds", "_seconds"},
      {"_microseconds", "_seconds"},
      {"_nanoseconds", "_seconds"},
      {"_minutes", "_seconds"},
      {"_hours", "_seconds"},
      {"_kb", "_bytes"},
      {"_mb", "_bytes"},
      {"_gb", "_bytes"},
      {"_kib", "_bytes"},
      {"_mib", "_bytes"},
      {"_gib", "_bytes"},
      {"_percent", "_ratio"},
  }};
  for (const auto& [unit, base] : kNotBase)
    if (stem.ends_with(unit))
      return quoted + " is in " + std::string(unit.substr(1)) + "; Prometheus wants " + std::string(base);
  if (kind == MetricKind::kHistogram) {
    static constexpr std::array<std::string_view, 5> kUnits = {"_seconds", "_bytes", "_tokens", "_samples", "_ratio"};
    if (std::none_of(kUnits.begin(), kUnits.end(), [&](std::string_view unit) { return name.ends_with(unit); }))
      return quoted + " is a histogram and does not end in its unit (_seconds, _bytes, _tokens, _samples, _ratio)";
  }
  return "";
}

std::string metric_label_problem(std::string_view name) {
  const std::string quoted = fmt::format("'{}'", name);
  if (!is_name(name)) return fmt::format("label {} is not made of a-z, 0-9 and _", quoted);
  for (const std::string_view taken : {"le", "quantile", "job", "instance"})
    if (name == taken) return fmt::format("label {} is set by Prometheus", quoted);
  return "";
}

std::vector<double> exponential_buckets(double first, double factor, int count) {
  CHECK(first > 0 && factor > 1 && count > 0, "first = ", first, ", factor = ", factor, ", count = ", count);
  std::vector<double> bounds;
  for (double bound = first; count > 0; --count, bound *= factor) bounds.push_back(bound);
  return bounds;
}

void CounterMetric::add(double amount) const {
  CHECK(!(amount < 0), "a counter cannot shrink: ", amount);
  if (counter_) counter_->Increment(amount);
}
double CounterMetric::value() const { return counter_ ? counter_->Value() : 0; }

void GaugeMetric::set(double value) const {
  if (gauge_) gauge_->Set(value);
}
double GaugeMetric::value() const { return gauge_ ? gauge_->Value() : 0; }

void HistogramMetric::observe(double value) const {
  if (histogram_) histogram_->Observe(value);
}

MetricsRegistry::MetricsRegistry(std::initializer_list<MetricLabels::value_type> constant)
    : state_(std::make_unique<State>()) {
  for (const auto& [name, value] : constant) {
    const std::string problem = metric_label_problem(name);
    CHECK(problem.empty(), problem);
  }
  state_->constant = constant;
}

MetricsRegistry::~MetricsRegistry() = default;

MetricLabels MetricsRegistry::State::admit(MetricKind kind, const std::string& name, const std::string& help,
                                           const std::vector<double>& bounds, MetricLabels labels) {
  std::string problem = metric_name_problem(kind, name);
  CHECK(problem.empty(), problem);
  CHECK(!help.empty(), "metric ", name, " has no help text");
  CHECK(labels.size() <= kMaxLabels, "metric ", name, " has ", labels.size(), " labels; at most ", kMaxLabels,
        " are allowed");
  std::sort(labels.begin(), labels.end());
  for (std::size_t i = 0; i < labels.size(); ++i) {
    problem = metric_label_problem(labels[i].first);
    CHECK(problem.empty(), "metric ", name, ": ", problem);
    CHECK(i == 0 || labels[i].first != labels[i - 1].first, "metric ", name, " has label ", labels[i].first, " twice");
    for (const auto& fixed : constant)
      CHECK(fixed.first != labels[i].first, "metric ", name, ": the registry sets label ", fixed.first, " itself");
  }
  const auto [entry, is_new] = metrics.try_emplace(name, Metric{kind, help, bounds, labels, {}});
  Metric& metric = entry->second;
  CHECK(metric.kind == kind && metric.help == help && metric.bounds == bounds, "metric ", name,
        " was registered before with another kind, help or buckets");
  CHECK(std::equal(labels.begin(), labels.end(), metric.first_labels.begin(), metric.first_labels.end(),
                   [](const auto& a, const auto& b) { return a.first == b.first; }),
        "metric ", name, " was registered before with other labels");
  if (metric.series.contains(labels)) return labels;
  // One place is kept for what folds.
  if (metric.series.size() + 1 >= kMaxSeries)
    for (auto& label : labels) label.second = "other";
  metric.series.insert(labels);
  return labels;
}

CounterMetric MetricsRegistry::counter(const std::string& name, const std::string& help, const MetricLabels& labels) {
  const std::lock_guard lock(state_->mutex);
  const MetricLabels admitted = state_->admit(MetricKind::kCounter, name, help, {}, labels);
  CounterMetric metric;
  metric.counter_ = &prometheus::BuildCounter()
                         .Name(name)
                         .Help(help)
                         .Labels(to_prometheus(state_->constant))
                         .Register(*state_->registry)
                         .Add(to_prometheus(admitted));
  return metric;
}

GaugeMetric MetricsRegistry::gauge(const std::string& name, const std::string& help, const MetricLabels& labels) {
  const std::lock_guard lock(state_->mutex);
  const MetricLabels admitted = state_->admit(MetricKind::kGauge, name, help, {}, labels);
  GaugeMetric metric;
  metric.gauge_ = &prometheus::BuildGauge()
                       .Name(name)
                       .Help(help)
                       .Labels(to_prometheus(state_->constant))
                       .Register(*state_->registry)
                       .Add(to_prometheus(admitted));
  return metric;
}

HistogramMetric MetricsRegistry::histogram(const std::string& name, const std::string& help,
                                           const std::vector<double>& bounds, const MetricLabels& labels) {
  CHECK(!bounds.empty() && std::adjacent_find(bounds.begin(), bounds.end(), std::greater_equal<>()) == bounds.end(),
        "the buckets of ", name, " do not rise");
  const std::lock_guard lock(state_->mutex);
  const MetricLabels admitted = state_->admit(MetricKind::kHistogram, name, help, bounds, labels);
  HistogramMetric metric;
  metric.histogram_ = &prometheus::BuildHistogram()
                           .Name(name)
                           .Help(help)
                           .Labels(to_prometheus(state_->constant))
                           .Register(*state_->registry)
                           .Add(to_prometheus(admitted), bounds);
  return metric;
}

std::vector<std::string> MetricsRegistry::names() const {
  const std::lock_guard lock(state_->mutex);
  std::vector<std::string> names;
  for (const auto& [name, metric] : state_->metrics) names.push_back(name);
  return names;
}

std::string MetricsRegistry::text() const {
  return prometheus::TextSerializer().Serialize(state_->registry->Collect());
}

}  // namespace trireme
