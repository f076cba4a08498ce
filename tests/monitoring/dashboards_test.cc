// Rules and dashboards name metrics in strings that no compiler sees. The table of monitoring/README.md is the list
// that all of them, and the components, must agree with.
#include <algorithm>
#include <map>
#include <set>
#include <sstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "monitoring/metrics.h"
#include "tests/paths.h"
#include "tests/scratch.h"

namespace trireme {
namespace {

const std::filesystem::path kFloor = std::filesystem::path(TRIREME_SOURCE_DIR) / "monitoring";

// The rows "| `trireme_step` | gauge | ..." of the table.
std::map<std::string, MetricKind> documented() {
  const std::map<std::string, MetricKind> kinds = {
      {"counter", MetricKind::kCounter}, {"gauge", MetricKind::kGauge}, {"histogram", MetricKind::kHistogram}};
  std::map<std::string, MetricKind> metrics;
  std::istringstream text(read_bytes(kFloor / "README.md"));
  for (std::string line; std::getline(text, line);) {
    const std::string start = "| `trireme_", middle = "` | ";
    const std::size_t name_end = line.find(middle, start.size());
    if (!line.starts_with(start) || name_end == line.npos) continue;
    const std::size_t kind = name_end + middle.size();
    metrics[line.substr(3, name_end - 3)] = kinds.at(line.substr(kind, line.find(' ', kind) - kind));
  }
  return metrics;
}

// Every series name in queries.
std::set<std::string> series(const std::string& text) {
  const std::string letters = "abcdefghijklmnopqrstuvwxyz_";
  std::set<std::string> names;
  for (std::size_t at = 0, end; (at = text.find("trireme_", at)) != text.npos; at = end) {
    end = std::min(text.size(), text.find_first_not_of(letters, at));
    names.insert(text.substr(at, end - at));
  }
  return names;
}

// The metric that a series belongs to: a histogram has three.
std::string metric_of(const std::string& name, const std::map<std::string, MetricKind>& metrics) {
  for (const char* suffix : {"_bucket", "_count", "_sum"}) {
    if (!name.ends_with(suffix)) continue;
    const std::string stem = name.substr(0, name.size() - std::string(suffix).size());
    if (metrics.contains(stem) && metrics.at(stem) == MetricKind::kHistogram) return stem;
  }
  return metrics.contains(name) && metrics.at(name) != MetricKind::kHistogram ? name : "";
}

std::string queries_of_dashboard() {
  std::string queries;
  const auto dashboard = nlohmann::json::parse(read_bytes(kFloor / "grafana" / "dashboards" / "trireme.json"));
  for (const auto& panel : dashboard.at("panels"))
    for (const auto& target : panel.at("targets")) queries += target.at("expr").get<std::string>() + "\n";
  for (const auto& variable : dashboard.at("templating").at("list"))
    queries += variable.at("definition").get<std::string>() + "\n";
  return queries;
}

std::string queries_of_rules() {
  std::string queries;
  std::istringstream text(read_bytes(kFloor / "prometheus" / "alerts.yml"));
  for (std::string line; std::getline(text, line);)
    if (const std::size_t at = line.find("expr: "); at != line.npos) queries += line.substr(at) + "\n";
  return queries;
}

}  // namespace

TEST(Dashboards, TheTableNamesMetricsThatTheRegistryTakes) {
  const auto metrics = documented();
  EXPECT_GE(metrics.size(), 13u);
  for (const auto& [name, kind] : metrics) EXPECT_EQ(metric_name_problem(kind, name), "");
}

TEST(Dashboards, EveryQueryAsksForADocumentedMetric) {
  const auto metrics = documented();
  const auto asked = series(queries_of_dashboard() + queries_of_rules());
  EXPECT_GE(asked.size(), 10u);
  for (const std::string& name : asked) EXPECT_NE(metric_of(name, metrics), "") << name;
}

TEST(Dashboards, EveryDocumentedMetricIsOnTheDashboard) {
  const auto metrics = documented();
  std::set<std::string> shown;
  for (const std::string& name : series(queries_of_dashboard())) shown.insert(metric_of(name, metrics));
  for (const auto& [name, kind] : metrics) EXPECT_TRUE(shown.contains(name)) << name;
}

TEST(Dashboards, PanelsHaveIdsOfTheirOwnAndOneDatasource) {
  const auto dashboard = nlohmann::json::parse(read_bytes(kFloor / "grafana" / "dashboards" / "trireme.json"));
  const std::string provisioned = read_bytes(kFloor / "grafana" / "provisioning" / "datasources" / "prometheus.yml");
  std::set<int> ids;
  for (const auto& panel : dashboard.at("panels")) {
    EXPECT_TRUE(ids.insert(panel.at("id").get<int>()).second) << panel.at("title");
    const std::string uid = panel.at("datasource").at("uid").get<std::string>();
    EXPECT_THAT(provisioned, ::testing::HasSubstr("uid: " + uid + "\n"));
  }
}

}  // namespace trireme
