#pragma once

// The ways in which evaluating or differentiating an expression can fail. The bindings translate
// each to the Python exception that the same arithmetic raises on Python's own numbers.

#include <stdexcept>

namespace mgx {

// Whether the numbers that this thread computes with stand for others, which are not known yet.
// What is out of their range is no error then.
extern thread_local bool numbers_are_unknown;

// An operand outside the domain of an operation (ValueError).
class DomainError : public std::domain_error {
    using std::domain_error::domain_error;
};

// Zero raised to a negative power (ZeroDivisionError).
class DivisionByZero : public std::domain_error {
    using std::domain_error::domain_error;
};

// A finite computation whose result no float can hold (OverflowError).
class Overflow : public std::overflow_error {
    using std::overflow_error::overflow_error;
};

// An index that chooses no entry of a table (IndexError).
class BadIndex : public std::out_of_range {
    using std::out_of_range::out_of_range;
};

}  // namespace mgx
