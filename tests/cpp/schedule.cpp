// The orders of instructions that run one at a time, worked out by hand and compared as listings.

#include "program/schedule.hpp"

#include <doctest/doctest.h>

#include "programs.hpp"

namespace mgx {

namespace {

// So many exponentials, each followed by its square.
Program exponentials_and_squares(std::uint32_t count) {
    Writer writer(count, 0);
    Values squares;
    for (std::uint32_t i = 0; i < count; ++i) {
        const ValueId root = writer.apply(Op::Exp, writer.input(i));
        squares.push_back(writer.mul(root, root));
    }
    return writer.returning(squares);
}

}  // namespace

TEST_CASE("put_alike_together: constants, then one operation after the other") {
    Writer writer(8, 0);
    Values outputs;
    for (std::uint32_t i = 0; i < 8; ++i) {
        const ValueId sum = writer.add(writer.input(i), writer.constant(i));
        outputs.push_back(writer.apply(Op::Exp, sum));
    }
    const Program alike = put_alike_together(writer.returning(outputs)).value();
    CHECK(alike.listing() ==
          "inputs %0..%7\n"
          "captured none\n"
          "  %8 = 0\n"
          "  %9 = 1\n"
          "  %10 = 2\n"
          "  %11 = 3\n"
          "  %12 = 4\n"
          "  %13 = 5\n"
          "  %14 = 6\n"
          "  %15 = 7\n"
          "  %16 = add %0 %8\n"
          "  %17 = add %1 %9\n"
          "  %18 = add %2 %10\n"
          "  %19 = add %3 %11\n"
          "  %20 = add %4 %12\n"
          "  %21 = add %5 %13\n"
          "  %22 = add %6 %14\n"
          "  %23 = add %7 %15\n"
          "  %24 = exp %16\n"
          "  %25 = exp %17\n"
          "  %26 = exp %18\n"
          "  %27 = exp %19\n"
          "  %28 = exp %20\n"
          "  %29 = exp %21\n"
          "  %30 = exp %22\n"
          "  %31 = exp %23\n"
          "return %24..%31\n");
}

TEST_CASE("put_alike_together: only if the runs are long") {
    CHECK_FALSE(put_alike_together(exponentials_and_squares(7)).has_value());
    CHECK(put_alike_together(exponentials_and_squares(8)).has_value());
    Writer writer(1, 0);
    ValueId value = writer.input(0);
    for (int i = 0; i < 100; ++i) {
        value = writer.apply(i % 2 == 0 ? Op::Exp : Op::Sin, value);
    }
    CHECK_FALSE(put_alike_together(writer.returning({value})).has_value());
}

TEST_CASE("put_alike_together: who joins a queue while it is emptied belongs to the run") {
    Writer writer(8, 0);
    Values sums;
    for (std::uint32_t i = 0; i < 8; ++i) {
        const ValueId sum = writer.add(writer.input(i), writer.input(i));
        sums.push_back(writer.add(sum, writer.input(0)));
    }
    const Program program = writer.returning(sums);
    CHECK(has_long_runs(program));
    const Program alike = put_alike_together(program).value();
    CHECK(has_long_runs(alike));
    CHECK(count(alike, Op::Add) == 16);
}

TEST_CASE("has_long_runs: constants do not interrupt a run, and there is none in nothing") {
    Writer writer(1, 0);
    ValueId value = writer.input(0);
    for (int i = 0; i < 8; ++i) {
        value = writer.add(value, writer.constant(i));
    }
    CHECK(has_long_runs(writer.returning({value})));
    CHECK(has_long_runs(Writer(1, 0).returning({})));
}

TEST_CASE("follow_chains: the operand with the longest way comes last") {
    Writer writer(2, 0);
    const ValueId x = writer.input(0);
    const ValueId y = writer.input(1);
    const ValueId first = writer.apply(Op::Exp, x);
    const ValueId second = writer.apply(Op::Sin, first);
    const ValueId side = writer.apply(Op::Cos, y);
    const ValueId third = writer.apply(Op::Tanh, second);
    const ValueId other_side = writer.mul(side, y);
    const Program chains =
        follow_chains(writer.returning({writer.add(third, other_side), other_side}));
    CHECK(chains.listing() ==
          "inputs %0..%1\n"
          "captured none\n"
          "  %2 = cos %1\n"
          "  %3 = mul %2 %1\n"
          "  %4 = exp %0\n"
          "  %5 = sin %4\n"
          "  %6 = tanh %5\n"
          "  %7 = add %6 %3\n"
          "return %7 %3\n");
}

TEST_CASE(
    "follow_chains: all results of an affine instruction come together, and inputs may be "
    "outputs") {
    Writer writer(2, 6);
    const ValueId rows = writer.affine({writer.input(0), writer.input(1)}, writer.captured(0, 4),
                                       writer.captured(4, 2));
    const ValueId product = writer.mul(next(rows), rows);
    const Program program = writer.returning({writer.input(1), product, rows});
    CHECK(follow_chains(program).listing() == program.listing());
}

TEST_CASE("follow_chains: a chain of a million instructions needs no recursion") {
    Writer writer(1, 0);
    ValueId value = writer.input(0);
    for (int i = 0; i < 1'000'000; ++i) {
        value = writer.apply(Op::Relu, value);
    }
    const Program program = writer.returning({value});
    CHECK(follow_chains(program).instructions.size() == program.instructions.size());
}

}  // namespace mgx
