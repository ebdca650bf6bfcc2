#pragma once

// The ways in which evaluating or differentiating an expression can fail. The bindings translate
// each to the Python exception that the same arithmetic raises on Python's own numbers.

#include <stdexcept>

namespace mgx {

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

}  // namespace mgx
