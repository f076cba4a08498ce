// A corpus in JSON lines has one object a line, of which training wants one field. The rest is skipped without being
// kept. A line that is not what it should be is named: losing it silently would make the corpus depend on luck.
#pragma once

#include <string>
#include <string_view>

namespace trireme {

// The string in `field` of the object that `line` is. Throws UserError beginning with `place` ("file:line"): not JSON
// (with the column), not an object, no such field (naming those that there are), twice the field, or not a string.
std::string json_text(std::string_view line, const std::string& field, const std::string& place);

}  // namespace trireme
