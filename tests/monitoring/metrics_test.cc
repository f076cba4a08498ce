#include "monitoring/metrics.h"

#include <limits>
#include <string>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "monitoring/error.h"

namespace trireme {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

int connect_to(const char* address, int port) {
  const int connection = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<std::uint16_t>(port));
  inet_pton(AF_INET, address, &to.sin_addr);
  if (connect(connection, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0) return connection;
  close(connection);
  return -1;
}

std::string scrape(int port) {
  const int connection = connect_to("127.0.0.1", port);
  EXPECT_GE(connection, 0);
  const std::string request = "GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
  EXPECT_EQ(send(connection, request.data(), request.size(), 0), static_cast<ssize_t>(request.size()));
  std::string answer;
  char block[4096];
  for (ssize_t got; (got = recv(connection, block, sizeof block, 0)) > 0;)
    answer.append(block, static_cast<std::size_t>(got));
  close(connection);
  return answer;
}

int count(const std::string& text, const std::string& part) {
  int found = 0;
  for (std::size_t at = 0; (at = text.find(part, at)) != text.npos; at += part.size()) ++found;
  return found;
}

}  // namespace

TEST(Metrics, AScrapeOverHttpShowsWhatWasCounted) {
  MetricsRegistry registry({{"rank", "3"}});
  const CounterMetric tokens = registry.counter("trireme_tokens_total", "Tokens trained on.");
  const GaugeMetric loss = registry.gauge("trireme_loss", "Training loss.");
  const HistogramMetric seconds = registry.histogram("trireme_step_seconds", "Time of a step.", {0.5, 1, 2});
  const Exporter exporter(registry);
  ASSERT_GT(exporter.port(), 0);
  EXPECT_EQ(exporter.url(), "http://127.0.0.1:" + std::to_string(exporter.port()) + "/metrics");

  EXPECT_THAT(scrape(exporter.port()), HasSubstr("trireme_tokens_total{rank=\"3\"} 0"));
  tokens.add(4096);
  loss.set(2.5);
  seconds.observe(0.75);
  const std::string page = scrape(exporter.port());
  EXPECT_THAT(page, HasSubstr("200 OK"));
  EXPECT_THAT(page, HasSubstr("# HELP trireme_tokens_total Tokens trained on.\n# TYPE trireme_tokens_total counter\n"));
  EXPECT_THAT(page, HasSubstr("trireme_tokens_total{rank=\"3\"} 4096"));
  EXPECT_THAT(page, HasSubstr("trireme_loss{rank=\"3\"} 2.5"));
  EXPECT_THAT(page, HasSubstr("trireme_step_seconds_bucket{rank=\"3\",le=\"0.5\"} 0"));
  EXPECT_THAT(page, HasSubstr("trireme_step_seconds_bucket{rank=\"3\",le=\"1\"} 1"));
  EXPECT_THAT(page, HasSubstr("trireme_step_seconds_bucket{rank=\"3\",le=\"+Inf\"} 1"));
}

TEST(Metrics, ALossThatIsNotANumberIsScrapedAsOne) {
  MetricsRegistry registry;
  registry.gauge("trireme_loss", "Training loss.").set(std::numeric_limits<double>::quiet_NaN());
  EXPECT_THAT(registry.text(), HasSubstr("trireme_loss Nan"));
}

TEST(Metrics, TheExporterListensOnLoopbackOnly) {
  const MetricsRegistry registry;
  const Exporter exporter(registry);
  // All of 127/8 is this machine: a listener on any address would answer here too.
  EXPECT_LT(connect_to("127.0.0.2", exporter.port()), 0);
}

TEST(Metrics, APortInUseIsAUsersMistakeThatNamesThePort) {
  const MetricsRegistry registry;
  const Exporter first(registry);
  try {
    const Exporter second(registry, "127.0.0.1", first.port());
    FAIL() << "two exporters share port " << first.port();
  } catch (const UserError& error) {
    EXPECT_THAT(error.what(), HasSubstr("127.0.0.1 port " + std::to_string(first.port())));
    EXPECT_THAT(error.what(), HasSubstr("Address already in use"));
  }
}

TEST(Metrics, AnAddressThatIsNotOursIsAUsersMistake) {
  const MetricsRegistry registry;
  EXPECT_THROW(Exporter(registry, "192.0.2.1", 0), UserError);  // TEST-NET-1
  EXPECT_THROW(Exporter(registry, "not an address", 0), UserError);
  EXPECT_THROW(Exporter(registry, "127.0.0.1", 70000), UserError);
}

TEST(Metrics, AFreedPortCanBeUsedAgain) {
  const MetricsRegistry registry;
  int port = 0;
  {
    const Exporter exporter(registry);
    port = exporter.port();
    scrape(port);
  }
  EXPECT_EQ(Exporter(registry, "127.0.0.1", port).port(), port);
}

TEST(Metrics, AskingAgainGivesTheSameInstrument) {
  MetricsRegistry registry;
  registry.counter("trireme_errors_total", "Errors.", {{"kind", "read"}}).add(2);
  registry.counter("trireme_errors_total", "Errors.", {{"kind", "read"}}).add(3);
  registry.counter("trireme_errors_total", "Errors.", {{"kind", "write"}}).add(1);
  EXPECT_THAT(registry.text(), HasSubstr("trireme_errors_total{kind=\"read\"} 5"));
  EXPECT_THAT(registry.text(), HasSubstr("trireme_errors_total{kind=\"write\"} 1"));
  EXPECT_THAT(registry.names(), ::testing::ElementsAre("trireme_errors_total"));
}

TEST(Metrics, SeriesAreBoundedAndTheRestFoldsIntoOther) {
  MetricsRegistry registry;
  for (int i = 0; i < 1000; ++i)
    registry.counter("trireme_samples_total", "Samples.", {{"source", std::to_string(i)}}).add(1);
  const std::string page = registry.text();
  EXPECT_EQ(count(page, "\ntrireme_samples_total{"), MetricsRegistry::kMaxSeries);
  EXPECT_THAT(page, HasSubstr("{source=\"other\"} " + std::to_string(1000 - MetricsRegistry::kMaxSeries + 1)));
}

TEST(Metrics, InstrumentsThatWereNeverRegisteredRecordNothing) {
  CounterMetric().add(1);
  GaugeMetric().set(1);
  HistogramMetric().observe(1);
  EXPECT_EQ(GaugeMetric().value(), 0);
}

TEST(Metrics, CountsFromManyThreadsAreAllThere) {
  MetricsRegistry registry;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      const CounterMetric counter = registry.counter("trireme_tokens_total", "Tokens.");
      for (int i = 0; i < 1000; ++i) counter.add();
      registry.text();
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(registry.counter("trireme_tokens_total", "Tokens.").value(), 4000);
}

TEST(MetricNames, ThoseThatPrometheusWantsAreTaken) {
  EXPECT_EQ(metric_name_problem(MetricKind::kCounter, "trireme_tokens_total"), "");
  EXPECT_EQ(metric_name_problem(MetricKind::kGauge, "trireme_learning_rate"), "");
  EXPECT_EQ(metric_name_problem(MetricKind::kHistogram, "trireme_step_seconds"), "");
  EXPECT_EQ(metric_label_problem("source"), "");
}

TEST(MetricNames, ThoseThatItAdvisesAgainstAreRefused) {
  const auto refused = [](MetricKind kind, const char* name) {
    EXPECT_NE(metric_name_problem(kind, name), "") << name;
  };
  refused(MetricKind::kGauge, "");
  refused(MetricKind::kGauge, "loss");
  refused(MetricKind::kGauge, "trireme_Loss");
  refused(MetricKind::kGauge, "trireme_loss-value");
  refused(MetricKind::kGauge, "trireme_l\xc3\xb6ss");
  refused(MetricKind::kGauge, "trireme__loss");
  refused(MetricKind::kGauge, "trireme_loss_");
  refused(MetricKind::kGauge, "trireme_tokens_total");
  refused(MetricKind::kCounter, "trireme_tokens");
  refused(MetricKind::kCounter, "trireme_wait_ms_total");
  refused(MetricKind::kGauge, "trireme_memory_mib");
  refused(MetricKind::kGauge, "trireme_busy_percent");
  refused(MetricKind::kGauge, "trireme_step_count");
  refused(MetricKind::kHistogram, "trireme_step_seconds_sum");
  refused(MetricKind::kHistogram, "trireme_step");
  for (const char* label : {"le", "quantile", "job", "instance", "__name", "Rank", "", "9"})
    EXPECT_NE(metric_label_problem(label), "") << label;
}

TEST(MetricsDeathTest, MisuseIsABugThatNamesTheMetric) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  MetricsRegistry registry({{"rank", "0"}});
  registry.gauge("trireme_loss", "Training loss.");
  EXPECT_DEATH(registry.counter("trireme_tokens", "Tokens."), "'trireme_tokens' is a counter");
  EXPECT_DEATH(registry.gauge("trireme_loss", "Another."), "trireme_loss was registered before with another");
  EXPECT_DEATH(registry.gauge("trireme_loss", "Training loss.", {{"a", "b"}}), "before with other labels");
  EXPECT_DEATH(registry.gauge("trireme_norm", "Norm.", {{"rank", "1"}}), "sets label rank itself");
  EXPECT_DEATH(registry.gauge("trireme_norm", "Norm.", {{"a", ""}, {"b", ""}, {"c", ""}, {"d", ""}}), "has 4 labels");
  EXPECT_DEATH(registry.histogram("trireme_step_seconds", "Time.", {1, 1}), "do not rise");
  EXPECT_DEATH(registry.counter("trireme_tokens_total", "Tokens.").add(-1), "cannot shrink");
}

}  // namespace trireme
