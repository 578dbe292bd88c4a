// Lists of objects in Docker's forms: a table with headings, a Go template per row, or JSON per
// row.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace gantry::client {

// Aligns text whose cells end in tabs, as Go's tabwriter with a minimum width of 10 and 3 blanks
// between: a column is a run of lines that have a cell there, and the last cell of a line is not
// padded. Wide and combining characters count for the columns they take on a terminal.
std::string align_columns(std::string_view text);
// Terminal columns that a UTF-8 text takes.
size_t display_width(std::string_view text);
// At most `columns` wide, with "…" in place of what was cut.
std::string ellipsis(std::string_view text, size_t columns);

struct Listing {
  std::string_view type_name;                                           // in errors of templates
  std::vector<std::pair<std::string_view, std::string_view>> headings;  // field → heading
  std::string_view table;                                               // what "table" and "" mean
  std::vector<json::object> rows;
};
// `format` as --format gives it: "", "table", "table TEMPLATE", "json", "raw" is not known here,
// TEMPLATE.
Result<std::string> render(const Listing& listing, std::string_view format);

// "\t" and "\n" written out in a format become a tab and a line break.
std::string unescape_format(std::string_view format);

}  // namespace gantry::client
