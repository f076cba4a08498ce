#include "monitoring/plot.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include <fmt/format.h>

#include "monitoring/check.h"

namespace trireme {
namespace {

constexpr double kWidth = 960, kHeight = 540;
constexpr double kLeft = 72, kRight = kWidth - 24, kTop = 52, kBottom = kHeight - 58;
constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

// Okabe and Ito's palette without yellow, which is lost on white: told apart by the colour-blind too.
constexpr const char* kColours[] = {"#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000"};
const char* colour(int index) { return kColours[static_cast<std::size_t>(index) % std::size(kColours)]; }

std::string escaped(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '"')
      out += "&quot;";
    else if (static_cast<unsigned char>(c) < 0x20)
      out += ' ';  // XML has no control characters
    else
      out += c;
  }
  return out;
}

// Beyond this, differences overflow; such a loss is as good as infinite.
bool drawable(double y) { return std::fabs(y) < 1e300; }

struct Range {
  double low = std::numeric_limits<double>::infinity(), high = -low;

  bool empty() const { return low > high; }
  void include(double value) {
    if (!drawable(value)) return;
    low = std::min(low, value);
    high = std::max(high, value);
  }
};

struct Axis {
  std::vector<double> ticks;
  double first_pixel, last_pixel;

  double pixel(double value) const {
    const double low = ticks.front(), high = ticks.back();
    return first_pixel + (value - low) / (high - low) * (last_pixel - first_pixel);
  }
};

// Steps: whole numbers, and room for a few.
Axis make_x_axis(Range range) {
  if (range.empty()) range = {0, 0};
  const double span = std::max(4.0, range.high - range.low);
  return {nice_ticks(range.low, range.low + span, static_cast<int>(std::min(8.0, span))), kLeft, kRight};
}

Axis make_y_axis(Range range) {
  if (range.empty()) range = {0, 1};
  const double middle = range.low / 2 + range.high / 2, least = std::max(1e-6, 0.01 * std::fabs(middle));
  if (range.high - range.low < least) range = {middle - least / 2, middle + least / 2};
  return {nice_ticks(range.low, range.high, 6), kBottom, kTop};
}

// What the y axis shows. A spike that would press all the rest flat is left out: the frame cuts it.
struct Shown {
  Range range;
  std::size_t cut = 0;  // values above it
};
Shown shown_range(const std::vector<Curve>& curves) {
  std::vector<double> all;
  for (const Curve& curve : curves)
    std::copy_if(curve.y.begin(), curve.y.end(), std::back_inserter(all), [](double y) { return drawable(y); });
  Shown shown;
  if (all.empty()) return shown;
  std::sort(all.begin(), all.end());
  const auto at = [&](double share) {
    return all[static_cast<std::size_t>(share * static_cast<double>(all.size() - 1))];
  };
  shown.range = {all.front(), all.back()};
  const double usual = at(0.98) - at(0.02);
  if (usual > 0 && all.back() - at(0.02) > 20 * usual) {
    shown.range.high = at(0.98) + usual / 2;
    shown.cut = static_cast<std::size_t>(all.end() - std::upper_bound(all.begin(), all.end(), shown.range.high));
  }
  return shown;
}

// "20 k": ticks of thousands and millions are scaled together, with as many decimals as tell them apart.
std::vector<std::string> tick_labels(const std::vector<double>& ticks) {
  const double largest = std::max(std::fabs(ticks.front()), std::fabs(ticks.back()));
  double scale = 1;
  const char* unit = "";
  if (largest >= 1e4) scale = 1e3, unit = " k";
  if (largest >= 1e6) scale = 1e6, unit = " M";
  if (largest >= 1e9) scale = 1e9, unit = " B";
  const double apart = (ticks[1] - ticks[0]) / scale;
  const bool fits = largest / scale < 1e6 && apart > 1e-7;
  const int decimals = std::max(0, static_cast<int>(-std::floor(std::log10(apart) + 1e-9)));
  std::vector<std::string> labels;
  for (const double tick : ticks) {
    const double value = tick == 0 ? 0 : tick / scale;
    labels.push_back(fits ? fmt::format("{:.{}f}{}", value, decimals, value == 0 ? "" : unit)
                          : fmt::format("{:.6g}", tick));
  }
  return labels;
}

// A path through the points, broken where y is not finite. Where many fall on one pixel column, its lowest and highest
// stand for them.
std::string path_data(const std::vector<double>& x, const std::vector<double>& y, const Axis& x_axis,
                      const Axis& y_axis) {
  std::string data;
  bool pen_down = false;
  const auto to = [&](double px, double py) {
    data += fmt::format("{}{:.1f} {:.1f}", pen_down ? "L" : "M", px, std::clamp(py, -10 * kHeight, 10 * kHeight));
    pen_down = true;
  };
  for (std::size_t i = 0; i < x.size();) {
    if (!drawable(y[i])) {
      pen_down = false;
      ++i;
      continue;
    }
    const double px = x_axis.pixel(x[i]);
    std::size_t end = i, low = i, high = i;
    for (; end < x.size() && drawable(y[end]) && std::floor(x_axis.pixel(x[end])) == std::floor(px); ++end) {
      if (y[end] < y[low]) low = end;
      if (y[end] > y[high]) high = end;
    }
    if (end - i <= 2) {
      for (; i < end; ++i) to(x_axis.pixel(x[i]), y_axis.pixel(y[i]));
      continue;
    }
    for (const std::size_t j : {std::min(low, high), std::max(low, high)}) to(x_axis.pixel(x[j]), y_axis.pixel(y[j]));
    i = end;
  }
  return data;
}

std::string draw_line(const std::string& data, const char* stroke, double width, double opacity) {
  if (data.empty()) return "";
  return fmt::format(
      R"(<path d="{}" fill="none" stroke="{}" stroke-width="{}" stroke-opacity="{}" stroke-linejoin="round")"
      R"( stroke-linecap="round"/>)"
      "\n",
      data, stroke, width, opacity);
}

std::string draw_dots(const Curve& curve, const Axis& x_axis, const Axis& y_axis) {
  std::string text;
  for (std::size_t i = 0; i < curve.x.size(); ++i)
    if (drawable(curve.y[i]))
      text += fmt::format(R"(<circle cx="{:.1f}" cy="{:.1f}" r="3" fill="{}"/>)"
                          "\n",
                          x_axis.pixel(curve.x[i]), y_axis.pixel(curve.y[i]), colour(curve.colour));
  return text;
}

// The moving average of what the frame shows: a spike that it cuts would lift the line for as far as the average
// reaches. It stops short of the end, where too few values are left to calm it.
std::vector<double> smoothed(const std::vector<double>& y, std::size_t reach, double high) {
  std::vector<double> calm = y;
  for (double& value : calm)
    if (value > high) value = kNaN;
  calm = moving_average(calm, reach);
  std::fill(calm.end() - static_cast<std::ptrdiff_t>(reach / 4), calm.end(), kNaN);
  return calm;
}

std::string draw_curve(const Curve& curve, const Axis& x_axis, const Axis& y_axis) {
  constexpr std::size_t kMostDots = 80;
  const char* stroke = colour(curve.colour);
  const bool few = curve.x.size() <= kMostDots;
  const std::string raw = path_data(curve.x, curve.y, x_axis, y_axis);
  if (curve.style == CurveStyle::kPoints)
    return draw_line(raw, stroke, 1.5, 1) + (few ? draw_dots(curve, x_axis, y_axis) : "");
  const auto finite = std::count_if(curve.y.begin(), curve.y.end(), [](double y) { return drawable(y); });
  if (finite <= 1) return draw_dots(curve, x_axis, y_axis);  // a line of one point is no line
  const std::size_t reach = curve.y.size() / 60;
  if (reach == 0) return draw_line(raw, stroke, 2, 1);
  return draw_line(raw, stroke, 1, 0.3) +
         draw_line(path_data(curve.x, smoothed(curve.y, reach, y_axis.ticks.back()), x_axis, y_axis), stroke, 2, 1);
}

// Crosses on the x axis, one a pixel column at most.
std::string draw_not_finite(const Curve& curve, const Axis& x_axis) {
  std::string text;
  double last = kNaN;
  for (std::size_t i = 0; i < curve.x.size(); ++i) {
    const double px = std::floor(x_axis.pixel(curve.x[i]));
    if (drawable(curve.y[i]) || px == last) continue;
    last = px;
    text += fmt::format(R"(<path d="M{0:.1f} {2:.1f}l8 8m0 -8l-8 8" stroke="{1}" stroke-width="2" fill="none"/>)"
                        "\n",
                        px - 4, "#c00000", kBottom - 12);
  }
  return text;
}

std::string draw_text(double x, double y, std::string_view text, const char* attributes) {
  return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" {}>{}</text>\n", x, y, attributes, escaped(text));
}

std::string draw_frame(const LinePlot& plot, const Axis& x_axis, const Axis& y_axis) {
  std::string text;
  const auto x_labels = tick_labels(x_axis.ticks), y_labels = tick_labels(y_axis.ticks);
  for (std::size_t i = 0; i < x_axis.ticks.size(); ++i) {
    const double px = x_axis.pixel(x_axis.ticks[i]);
    text += fmt::format(R"(<path d="M{0:.1f} {1}V{2}" stroke="#e4e4e4"/>)"
                        "\n",
                        px, kTop, kBottom);
    text += draw_text(px, kBottom + 20, x_labels[i], "text-anchor=\"middle\"");
  }
  for (std::size_t i = 0; i < y_axis.ticks.size(); ++i) {
    const double py = y_axis.pixel(y_axis.ticks[i]);
    text += fmt::format(R"(<path d="M{1} {0:.1f}H{2}" stroke="#e4e4e4"/>)"
                        "\n",
                        py, kLeft, kRight);
    text += draw_text(kLeft - 10, py + 4.5, y_labels[i], "text-anchor=\"end\"");
  }
  text += fmt::format(R"(<path d="M{} {}V{}H{}" fill="none" stroke="#666"/>)"
                      "\n",
                      kLeft, kTop, kBottom, kRight);
  text += draw_text((kLeft + kRight) / 2, kHeight - 14, plot.x_label, "text-anchor=\"middle\"");
  text += draw_text(
      0, 0, plot.y_label,
      fmt::format("text-anchor=\"middle\" transform=\"translate(20 {}) rotate(-90)\"", (kTop + kBottom) / 2).c_str());
  text += draw_text(kLeft, 30, plot.title, "font-size=\"18\" font-weight=\"600\" fill=\"#111\"");
  return text;
}

// In the upper right corner, where a falling loss leaves room.
std::string draw_legend(const LinePlot& plot, bool not_finite, std::size_t cut) {
  struct Entry {
    std::string label, sample;
  };
  constexpr double kLine = 20;
  std::vector<Entry> entries;
  for (const Curve& curve : plot.curves) {
    std::string sample = fmt::format(R"(<path d="M0 0h22" stroke="{}" stroke-width="2"/>)", colour(curve.colour));
    if (curve.style == CurveStyle::kPoints)
      sample += fmt::format(R"(<circle cx="11" cy="0" r="3" fill="{}"/>)", colour(curve.colour));
    entries.push_back({curve.label, sample});
  }
  if (not_finite)
    entries.push_back({"not finite", R"(<path d="M7 -4l8 8m0 -8l-8 8" stroke="#c00000" stroke-width="2"/>)"});
  if (cut > 0) entries.push_back({fmt::format("{} {} above the frame", cut, cut == 1 ? "value" : "values"), ""});
  if (entries.empty()) return "";
  std::size_t longest = 0;
  for (const Entry& entry : entries) longest = std::max(longest, entry.label.size());
  const double width = 52 + 7.2 * static_cast<double>(longest),
               height = 12 + kLine * static_cast<double>(entries.size());
  const double left = std::max(kLeft + 8, kRight - width - 8), top = kTop + 8;
  std::string text = fmt::format(
      R"(<rect x="{:.1f}" y="{:.1f}" width="{:.1f}" height="{:.1f}" rx="4" fill="#fff" fill-opacity="0.85" stroke="#ddd"/>)"
      "\n",
      left, top, width, height);
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const double y = top + 6 + kLine * (static_cast<double>(i) + 0.5);
    text += fmt::format("<g transform=\"translate({:.1f} {:.1f})\">{}</g>\n", left + 10, y, entries[i].sample);
    text += draw_text(left + 42, y + 4.5, entries[i].label, "");
  }
  return text;
}

}  // namespace

std::vector<double> nice_ticks(double low, double high, int count) {
  CHECK(low < high && std::isfinite(low) && std::isfinite(high) && count > 0, low, " to ", high, " in ", count);
  const double rough = (high / count - low / count);  // the difference itself may overflow
  const double power = std::pow(10, std::floor(std::log10(rough)));
  const double digits = rough / power;
  const double apart = power * (digits <= 1 ? 1 : digits <= 2 ? 2 : digits <= 5 ? 5 : 10);
  const double first = std::floor(low / apart + 1e-9), last = std::ceil(high / apart - 1e-9);
  std::vector<double> ticks;
  for (double i = first; i <= last; ++i) ticks.push_back(i * apart);
  if (ticks.size() < 2) ticks.push_back(ticks.back() + apart);
  return ticks;
}

std::vector<double> moving_average(const std::vector<double>& values, std::size_t reach) {
  // Sums of the finite values before each place, and how many there are.
  std::vector<double> sums(values.size() + 1, 0), counts(values.size() + 1, 0);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const bool finite = drawable(values[i]);
    sums[i + 1] = sums[i] + (finite ? values[i] : 0);
    counts[i + 1] = counts[i] + (finite ? 1 : 0);
  }
  std::vector<double> means(values.size(), kNaN);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const std::size_t here = std::min({reach, i, values.size() - 1 - i});
    if (drawable(values[i]))
      means[i] = (sums[i + here + 1] - sums[i - here]) / (counts[i + here + 1] - counts[i - here]);
  }
  return means;
}

std::string svg(const LinePlot& plot) {
  Range steps;
  bool not_finite = false;
  for (const Curve& curve : plot.curves) {
    CHECK(curve.x.size() == curve.y.size(), curve.x.size(), " x and ", curve.y.size(), " y in ", curve.label);
    for (const double x : curve.x) steps.include(x);
    for (const double y : curve.y) not_finite |= !drawable(y);
  }
  const Shown shown = shown_range(plot.curves);
  const Axis x_axis = make_x_axis(steps), y_axis = make_y_axis(shown.range);

  std::string text =
      fmt::format(R"(<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0} {1}" width="{0}" height="{1}" role="img")"
                  R"( font-family="system-ui, 'DejaVu Sans', Helvetica, Arial, sans-serif" font-size="13" fill="#333">)"
                  "\n<title>{2}</title>\n"
                  R"(<rect width="{0}" height="{1}" fill="#fff"/>)"
                  "\n",
                  kWidth, kHeight, escaped(plot.title));
  text += draw_frame(plot, x_axis, y_axis);
  text += fmt::format(R"(<clipPath id="frame"><rect x="{}" y="{}" width="{}" height="{}"/></clipPath>)"
                      "\n<g clip-path=\"url(#frame)\">\n",
                      kLeft - 4, kTop - 4, kRight - kLeft + 8, kBottom - kTop + 8);
  for (const Curve& curve : plot.curves) text += draw_curve(curve, x_axis, y_axis);
  text += "</g>\n";
  for (const Curve& curve : plot.curves) text += draw_not_finite(curve, x_axis);
  if (shown.range.empty())
    text += draw_text((kLeft + kRight) / 2, (kTop + kBottom) / 2, "nothing to draw yet",
                      "text-anchor=\"middle\" fill=\"#888\"");
  text += draw_legend(plot, not_finite, shown.cut);
  return text + "</svg>\n";
}

}  // namespace trireme
