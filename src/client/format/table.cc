#include "client/format/table.h"

#include <wchar.h>

#include <algorithm>

#include "client/format/template.h"

namespace gantry::client {
namespace {

// One code point at `at`, which moves behind it; a byte that is no UTF-8 counts as itself.
uint32_t next_code_point(std::string_view text, size_t& at) {
  const auto byte = [&](size_t i) {
    return static_cast<unsigned char>(i < text.size() ? text[i] : 0);
  };
  const unsigned char lead = byte(at);
  const size_t length = lead < 0x80    ? 1
                        : lead >= 0xF0 ? 4
                        : lead >= 0xE0 ? 3
                        : lead >= 0xC0 ? 2
                                       : 1;
  uint32_t code = length == 1 ? lead : lead & (0xFFu >> (length + 1));
  for (size_t i = 1; i < length; ++i) {
    if ((byte(at + i) & 0xC0) != 0x80) {
      ++at;
      return lead;
    }
    code = (code << 6) | (byte(at + i) & 0x3Fu);
  }
  at += length;
  return code;
}

// wcwidth(3) would need the locale to be initialised: the ranges that matter, from Unicode's East
// Asian Width (W and F) and the combining marks.
size_t code_point_width(uint32_t code) {
  struct Range {
    uint32_t first, last;
  };
  static constexpr Range kZero[] = {{0x300, 0x36F},   {0x483, 0x489},   {0x591, 0x5BD},
                                    {0x610, 0x61A},   {0x64B, 0x65F},   {0x200B, 0x200F},
                                    {0x202A, 0x202E}, {0x2060, 0x2064}, {0x20D0, 0x20FF},
                                    {0xFE00, 0xFE0F}, {0xFE20, 0xFE2F}, {0xFEFF, 0xFEFF}};
  static constexpr Range kWide[] = {{0x1100, 0x115F},   {0x2E80, 0x303E},   {0x3041, 0x33FF},
                                    {0x3400, 0x4DBF},   {0x4E00, 0x9FFF},   {0xA000, 0xA4CF},
                                    {0xAC00, 0xD7A3},   {0xF900, 0xFAFF},   {0xFE30, 0xFE6F},
                                    {0xFF00, 0xFF60},   {0xFFE0, 0xFFE6},   {0x1F300, 0x1F64F},
                                    {0x1F680, 0x1F6FF}, {0x1F900, 0x1F9FF}, {0x20000, 0x3FFFD}};
  auto in = [&](const Range& range) { return code >= range.first && code <= range.last; };
  if (std::ranges::any_of(kZero, in)) return 0;
  return std::ranges::any_of(kWide, in) ? 2 : 1;
}

std::vector<std::vector<std::string_view>> split_cells(std::string_view text) {
  std::vector<std::vector<std::string_view>> lines;
  while (!text.empty()) {
    size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    auto& cells = lines.emplace_back();
    while (true) {
      size_t tab = line.find('\t');
      cells.push_back(line.substr(0, tab));
      if (tab == line.npos) break;
      line.remove_prefix(tab + 1);
    }
  }
  return lines;
}

constexpr size_t kMinimumWidth = 10;
constexpr size_t kPadding = 3;

Result<std::string> render_rows(const Listing& listing, std::string_view text, bool headings) {
  auto parsed = Template::parse(text);
  if (!parsed) return std::move(parsed).error().context("failed to parse template");
  std::string out;
  if (headings) {
    json::object titles;
    for (const auto& [field, heading] : listing.headings) titles[field] = heading;
    TemplateOptions options{.type_name = listing.type_name, .headings = true};
    out += TRY(parsed->execute(titles, options).context("failed to execute template"));
    out += '\n';
  }
  for (const json::object& row : listing.rows) {
    TemplateOptions options{.type_name = listing.type_name};
    out += TRY(parsed->execute(row, options).context("failed to execute template"));
    out += '\n';
  }
  return out;
}

}  // namespace

size_t display_width(std::string_view text) {
  size_t width = 0;
  for (size_t at = 0; at < text.size();) width += code_point_width(next_code_point(text, at));
  return width;
}

std::string ellipsis(std::string_view text, size_t columns) {
  if (display_width(text) <= columns) return std::string(text);
  size_t used = 0, end = 0;
  for (size_t at = 0; at < text.size();) {
    used += code_point_width(next_code_point(text, at));
    if (used + 1 > columns) break;
    end = at;
  }
  return std::string(text.substr(0, end)) + (columns > 0 ? "…" : "");
}

std::string align_columns(std::string_view text) {
  auto lines = split_cells(text);
  std::vector<std::vector<size_t>> widths(lines.size());
  for (size_t i = 0; i < lines.size(); ++i) widths[i].resize(lines[i].size() - 1);
  for (size_t i = 0; i < lines.size(); ++i)
    for (size_t column = 0; column < widths[i].size(); ++column) {
      if (widths[i][column] != 0) continue;
      size_t end = i, width = kMinimumWidth;
      for (; end < lines.size() && column < widths[end].size(); ++end)
        width = std::max(width, display_width(lines[end][column]) + kPadding);
      for (size_t row = i; row < end; ++row) widths[row][column] = width;
    }
  std::string out;
  for (size_t i = 0; i < lines.size(); ++i) {
    for (size_t column = 0; column < lines[i].size(); ++column) {
      out += lines[i][column];
      if (column < widths[i].size())
        out.append(widths[i][column] - display_width(lines[i][column]), ' ');
    }
    out += '\n';
  }
  return out;
}

std::string unescape_format(std::string_view format) {
  std::string out;
  for (size_t i = 0; i < format.size(); ++i) {
    if (format[i] == '\\' && i + 1 < format.size() &&
        (format[i + 1] == 't' || format[i + 1] == 'n'))
      out += format[++i] == 't' ? '\t' : '\n';
    else
      out += format[i];
  }
  return out;
}

Result<std::string> render(const Listing& listing, std::string_view format) {
  if (format == "json") {
    std::string out;
    for (const json::object& row : listing.rows) out += row_as_json(row) + "\n";
    return out;
  }
  bool table = format.empty() || format.starts_with("table");
  std::string text;
  if (format.empty() || format == "table")
    text = listing.table;
  else
    text = unescape_format(table ? format.substr(5) : format);
  while (table && text.starts_with(' ')) text.erase(0, 1);
  while (table && text.ends_with(' ')) text.pop_back();
  std::string rows = TRY(render_rows(listing, text, table));
  return table ? align_columns(rows) : rows;
}

}  // namespace gantry::client
