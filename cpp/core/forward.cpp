// What of evaluating an operation need not be inlined: the message for an operand outside of an
// operation's domain.

#include "core/forward.hpp"

#include <array>
#include <charconv>
#include <string>

#include "core/errors.hpp"

namespace mgx {

thread_local bool numbers_are_unknown = false;

void throw_outside_domain(std::string_view method, double x) {
    if (numbers_are_unknown) {
        return;
    }
    std::array<char, 32> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), x).ptr;
    throw DomainError(std::string(method) +
                      "() is not defined for data = " + std::string(digits.data(), end));
}

}  // namespace mgx
