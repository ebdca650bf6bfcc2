// The affine kernels of LaneKernels, and the transpositions between samples and lanes. Included by
// the translation unit of each instruction set, inside of a namespace of its own, after <cstdint>,
// <cstring>, <utility>, core/compiler.hpp and, where there is one, <immintrin.h>.
//
// All three products of matrices are made of tiles: a few rows times a few vectors of sums that
// stay in registers while the terms pass by. Each sum sits in a lane of its own and takes its terms
// in order, a product and a sum rounded apart, so the results are those of the plain loop.
//
// In the gradients of weights the terms are the samples, so the inputs are first transposed, a
// panel of so few columns at a time that it stays in the first cache while all rows pass by. Half
// of the adjoints behind a layer of rectifiers are zeros. These are left out where that cannot be
// seen: adding a product of zero and a finite number changes no sum but -0. It takes wide tiles for
// finding the others to cost less than it saves.

#if defined(__AVX512F__)
constexpr std::size_t vector_width = 8;
constexpr std::size_t tile_vectors = 4;
constexpr std::size_t tile_rows = 4;
#elif defined(__AVX__)
constexpr std::size_t vector_width = 4;
constexpr std::size_t tile_vectors = 2;
constexpr std::size_t tile_rows = 6;
#elif defined(__aarch64__)
constexpr std::size_t vector_width = 2;
constexpr std::size_t tile_vectors = 4;
constexpr std::size_t tile_rows = 4;
#else
constexpr std::size_t vector_width = 2;
constexpr std::size_t tile_vectors = 4;
constexpr std::size_t tile_rows = 2;
#endif
constexpr bool leaves_out_zeros = tile_vectors * vector_width >= 32;

#if defined(__GNUC__)
using Vector = double __attribute__((vector_size(vector_width * sizeof(double))));

using Integers = std::int64_t __attribute__((vector_size(vector_width * sizeof(double))));

MGX_ALWAYS_INLINE Vector broadcast(double number) { return number - Vector{}; }

MGX_ALWAYS_INLINE Integers lesser(Integers x, Integers y) { return x < y ? x : y; }
#else
struct Vector {
    double lanes[vector_width];
};

struct Integers {
    std::int64_t lanes[vector_width];
};

MGX_ALWAYS_INLINE Vector broadcast(double number) {
    Vector vector;
    for (double& lane : vector.lanes) {
        lane = number;
    }
    return vector;
}

MGX_ALWAYS_INLINE Vector operator*(Vector x, const Vector& y) {
    for (std::size_t lane = 0; lane < vector_width; ++lane) {
        x.lanes[lane] *= y.lanes[lane];
    }
    return x;
}

MGX_ALWAYS_INLINE Vector& operator+=(Vector& x, const Vector& y) {
    for (std::size_t lane = 0; lane < vector_width; ++lane) {
        x.lanes[lane] += y.lanes[lane];
    }
    return x;
}

MGX_ALWAYS_INLINE Integers lesser(Integers x, const Integers& y) {
    for (std::size_t lane = 0; lane < vector_width; ++lane) {
        x.lanes[lane] = x.lanes[lane] < y.lanes[lane] ? x.lanes[lane] : y.lanes[lane];
    }
    return x;
}
#endif

MGX_ALWAYS_INLINE Vector load(const double* lanes) {
    Vector vector;
    std::memcpy(&vector, lanes, sizeof(vector));
    return vector;
}

MGX_ALWAYS_INLINE void store(const Vector& vector, double* lanes) {
    std::memcpy(lanes, &vector, sizeof(vector));
}

// The bits of each lane.
MGX_ALWAYS_INLINE Integers integers(const Vector& vector) {
    Integers bits;
    std::memcpy(&bits, &vector, sizeof(bits));
    return bits;
}

// x < 0 ? 0 : x
MGX_ALWAYS_INLINE Vector rectified(const Vector& x) {
#if defined(__AVX512F__)
    // The second operand if both are zeros or one is NaN. Unmasked, GCC warns of its own header.
    return _mm512_maskz_max_pd(0xFF, Vector{}, x);
#elif defined(__AVX__)
    return _mm256_max_pd(Vector{}, x);
#elif defined(__GNUC__)
    return x < Vector{} ? Vector{} : x;
#else
    Vector result;
    for (std::size_t lane = 0; lane < vector_width; ++lane) {
        result.lanes[lane] = x.lanes[lane] < 0.0 ? 0.0 : x.lanes[lane];
    }
    return result;
#endif
}

// x > 0 ? 1 : 0
MGX_ALWAYS_INLINE Vector derivative_of_rectified(const Vector& x) {
#if defined(__GNUC__)
    return x > Vector{} ? broadcast(1.0) : Vector{};
#else
    Vector result;
    for (std::size_t lane = 0; lane < vector_width; ++lane) {
        result.lanes[lane] = x.lanes[lane] > 0.0 ? 1.0 : 0.0;
    }
    return result;
#endif
}

// So many lanes, with zeros behind them.
MGX_ALWAYS_INLINE Vector first_lanes(const Vector& x, std::size_t count) {
#if defined(__GNUC__)
    constexpr std::int64_t numbers[] = {0, 1, 2, 3, 4, 5, 6, 7};
    static_assert(sizeof(numbers) >= sizeof(Integers));
    Integers lane;
    std::memcpy(&lane, numbers, sizeof(lane));
    return lane < static_cast<std::int64_t>(count) ? x : Vector{};
#else
    Vector result = {};
    for (std::size_t lane = 0; lane < vector_width && lane < count; ++lane) {
        result.lanes[lane] = x.lanes[lane];
    }
    return result;
#endif
}

// Numbers that are `step` apart, with zeros behind them if they are less than a vector.
MGX_ALWAYS_INLINE Vector gather(const double* numbers, std::size_t step, std::size_t count) {
    double lanes[vector_width] = {};
    for (std::size_t i = 0; i < count; ++i) {
        lanes[i] = numbers[i * step];
    }
    return load(lanes);
}

MGX_ALWAYS_INLINE void scatter(const Vector& vector, double* numbers, std::size_t step,
                               std::size_t count) {
    double lanes[vector_width];
    store(vector, lanes);
    for (std::size_t i = 0; i < count; ++i) {
        numbers[i * step] = lanes[i];
    }
}

// Whether the compiler can be told how to exchange lanes.
#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector)
#define MGX_SHUFFLES
#endif
#endif

#ifdef MGX_SHUFFLES
// Of x and y, seen as pairs of groups of `distance` lanes: the first groups of all pairs, or the
// second ones, those of x and y in turn.
template <std::size_t distance, std::size_t... lane>
MGX_ALWAYS_INLINE Vector first_groups(Vector x, Vector y, std::index_sequence<lane...> /*lanes*/) {
    return __builtin_shufflevector(
        x, y, ((lane & distance) != 0 ? vector_width + lane - distance : lane)...);
}

template <std::size_t distance, std::size_t... lane>
MGX_ALWAYS_INLINE Vector second_groups(Vector x, Vector y, std::index_sequence<lane...> /*lanes*/) {
    return __builtin_shufflevector(
        x, y, ((lane & distance) != 0 ? vector_width + lane : lane + distance)...);
}

template <std::size_t distance = vector_width / 2>
MGX_ALWAYS_INLINE void transpose(Vector (&square)[vector_width]) {
    constexpr std::make_index_sequence<vector_width> all;
    for (std::size_t i = 0; i < vector_width; ++i) {
        if ((i & distance) == 0) {
            const Vector x = square[i];
            const Vector y = square[i + distance];
            square[i] = first_groups<distance>(x, y, all);
            square[i + distance] = second_groups<distance>(x, y, all);
        }
    }
    if constexpr (distance > 1) {
        transpose<distance / 2>(square);
    }
}
#undef MGX_SHUFFLES
#else
MGX_ALWAYS_INLINE void transpose(Vector (&square)[vector_width]) {
    double numbers[vector_width][vector_width];
    std::memcpy(numbers, square, sizeof(numbers));
    for (std::size_t column = 0; column < vector_width; ++column) {
        square[column] = gather(&numbers[0][column], vector_width, vector_width);
    }
}
#endif

// to[column * to_stride + row] = row_begin(row)[column]
template <class RowBegin>
MGX_ALWAYS_INLINE void transpose(const RowBegin& row_begin, std::size_t rows, std::size_t columns,
                                 double* to, std::size_t to_stride) {
    std::size_t row = 0;
    for (; row + vector_width <= rows; row += vector_width) {
        const double* begins[vector_width];
        for (std::size_t i = 0; i < vector_width; ++i) {
            begins[i] = row_begin(row + i);
        }
        std::size_t column = 0;
        for (; column + vector_width <= columns; column += vector_width) {
            Vector square[vector_width];
            for (std::size_t i = 0; i < vector_width; ++i) {
                square[i] = load(begins[i] + column);
            }
            transpose(square);
            for (std::size_t i = 0; i < vector_width; ++i) {
                store(square[i], to + (column + i) * to_stride + row);
            }
        }
        for (; column < columns; ++column) {
            for (std::size_t i = 0; i < vector_width; ++i) {
                to[column * to_stride + row + i] = begins[i][column];
            }
        }
    }
    for (; row < rows; ++row) {
        const double* const begin = row_begin(row);
        for (std::size_t column = 0; column < columns; ++column) {
            to[column * to_stride + row] = begin[column];
        }
    }
}

// A number known to the compiler.
template <std::size_t number>
struct Constant {
    static constexpr std::size_t value = number;
};

// Calls body(Constant<number>()), number <= largest.
template <std::size_t largest, class Body>
MGX_ALWAYS_INLINE void with_constant(std::size_t number, const Body& body) {
    if (number == largest) {
        body(Constant<largest>());
    } else if constexpr (largest > 0) {
        with_constant<largest - 1>(number, body);
    }
}

// Calls body(begin, Constant<count>()) for parts, none larger than `largest` nor, if that can
// be, 1.
template <std::size_t largest, class Body>
MGX_ALWAYS_INLINE void for_each_part(std::size_t count, const Body& body) {
    for (std::size_t begin = 0; begin < count;) {
        const std::size_t left = count - begin;
        const std::size_t part = left <= largest      ? left
                                 : left < 2 * largest ? (left + 1) / 2
                                                      : largest;
        with_constant<largest - 1>(
            part - 1, [&](auto predecessor) { body(begin, Constant<predecessor.value + 1>()); });
        begin += part;
    }
}

MGX_ALWAYS_INLINE std::uint64_t load_bits(const double* number) {
    std::uint64_t bits;
    std::memcpy(&bits, number, sizeof(bits));
    return bits;
}

MGX_ALWAYS_INLINE void store_bits(std::uint64_t bits, double* number) {
    std::memcpy(number, &bits, sizeof(bits));
}

MGX_ALWAYS_INLINE std::size_t lowest_bit(std::uint64_t bits) {
#if defined(__GNUC__)
    return static_cast<unsigned>(__builtin_ctzll(bits));
#else
    std::size_t index = 0;
    for (; (bits & 1) == 0; bits >>= 1) {
        ++index;
    }
    return index;
#endif
}

MGX_ALWAYS_INLINE std::size_t bit_count(std::uint64_t bits) {
#if defined(__GNUC__)
    return static_cast<unsigned>(__builtin_popcountll(bits));
#else
    std::size_t count = 0;
    for (; bits != 0; bits &= bits - 1) {
        ++count;
    }
    return count;
#endif
}

// Sums that stay in registers.
template <std::size_t rows, std::size_t vectors>
struct Tile {
    Vector sums[rows][vectors];  // each row is loaded first

    MGX_ALWAYS_INLINE void load_row(std::size_t row, const double* lanes) {
        for (std::size_t v = 0; v < vectors; ++v) {
            sums[row][v] = load(lanes + v * vector_width);
        }
    }

    MGX_ALWAYS_INLINE void store_row(std::size_t row, double* lanes) const {
        for (std::size_t v = 0; v < vectors; ++v) {
            store(sums[row][v], lanes + v * vector_width);
        }
    }

    MGX_ALWAYS_INLINE void rectify() {
        for (auto& row : sums) {
            for (Vector& sum : row) {
                sum = rectified(sum);
            }
        }
    }

    [[nodiscard]] MGX_ALWAYS_INLINE bool has_negative_zero() const {
        // Its bits are those of the least integer.
        Integers least = {};
        for (const auto& row : sums) {
            for (const Vector& sum : row) {
                least = lesser(least, integers(sum));
            }
        }
        std::int64_t lanes[vector_width];
        std::memcpy(lanes, &least, sizeof(lanes));
        bool found = false;
        for (const std::int64_t lane : lanes) {
            found |= lane == INT64_MIN;
        }
        return found;
    }

    // sums[row] += factor(row, term) * lanes(term) for each term.
    template <class Factor, class LanesOf>
    MGX_ALWAYS_INLINE void add_products(std::size_t terms, const Factor& factor,
                                        const LanesOf& lanes_of) {
        for (std::size_t term = 0; term < terms; ++term) {
            const double* const lanes = lanes_of(term);
            Vector operand[vectors];
            for (std::size_t v = 0; v < vectors; ++v) {
                operand[v] = load(lanes + v * vector_width);
            }
            for (std::size_t row = 0; row < rows; ++row) {
                const Vector multiplier = broadcast(factor(row, term));
                for (std::size_t v = 0; v < vectors; ++v) {
                    sums[row][v] += multiplier * operand[v];
                }
            }
        }
    }

    // The same for the terms whose bits are set, equally many in each row.
    template <class Factor, class LanesOf>
    MGX_ALWAYS_INLINE void add_chosen_products(std::uint64_t (&chosen)[rows], const Factor& factor,
                                               const LanesOf& lanes_of) {
        while (chosen[0] != 0) {
            for (std::size_t row = 0; row < rows; ++row) {
                const std::size_t term = lowest_bit(chosen[row]);
                chosen[row] &= chosen[row] - 1;
                const double* const lanes = lanes_of(term);
                const Vector multiplier = broadcast(factor(row, term));
                for (std::size_t v = 0; v < vectors; ++v) {
                    sums[row][v] += multiplier * load(lanes + v * vector_width);
                }
            }
        }
    }
};

void affine(const AffineBlock& block, double* results, std::size_t lanes) noexcept {
    const auto& [weights, biases, inputs, rows, terms, stride, rectifies, is_first] = block;
    for_each_part<tile_vectors>(lanes / vector_width, [&](std::size_t first_vector, auto vectors) {
        const std::size_t lane = first_vector * vector_width;
        for_each_part<tile_rows>(rows, [&](std::size_t first_row, auto count) {
            // NOLINTNEXTLINE(cppcoreguidelines-pro-type-member-init): by row
            Tile<count.value, vectors.value> tile;
            for (std::size_t row = 0; row < count.value; ++row) {
                for (std::size_t v = 0; v < vectors.value; ++v) {
                    tile.sums[row][v] = broadcast(biases[first_row + row]);
                }
            }
            tile.add_products(
                terms,
                [&, begin = weights + first_row * terms](std::size_t row, std::size_t term) {
                    return begin[row * terms + term];
                },
                [&](std::size_t term) { return inputs[term] + lane; });
            if (rectifies) {
                tile.rectify();
            }
            for (std::size_t row = 0; row < count.value; ++row) {
                tile.store_row(row, results + (first_row + row) * stride + lane);
            }
        });
    });
}

// sums[i] += the sum over the samples of number i; numbers_at(i, lane) are those of several lanes
// from `lane` on. Every eighth lane is added to the same partial sum, and these in pairs.
template <class NumbersAt>
MGX_ALWAYS_INLINE void add_sums_over_lanes(std::size_t count, std::size_t samples,
                                           const NumbersAt& read, double* sums) {
    constexpr std::size_t group_vectors = lane_group / vector_width;
    for_each_part<8 / group_vectors>(count, [&](std::size_t first, auto number) {
        const NumbersAt numbers_at = read;  // where nothing that is stored can change it
        Vector vectors[number.value][group_vectors] = {};
        std::size_t lane = 0;
        for (; lane + lane_group <= samples; lane += lane_group) {
            for (std::size_t v = 0; v < group_vectors; ++v) {
                for (std::size_t i = 0; i < number.value; ++i) {
                    vectors[i][v] += numbers_at(first + i, lane + v * vector_width);
                }
            }
        }
        for (std::size_t v = 0; lane < samples; ++v, lane += vector_width) {
            for (std::size_t i = 0; i < number.value; ++i) {
                vectors[i][v] += first_lanes(numbers_at(first + i, lane), samples - lane);
            }
        }
        if constexpr (number.value == vector_width && group_vectors == 1) {
            Vector partial[vector_width];
            for (std::size_t i = 0; i < vector_width; ++i) {
                partial[i] = vectors[i][0];
            }
            transpose(partial);
            const Vector totals = ((partial[0] + partial[1]) + (partial[2] + partial[3])) +
                                  ((partial[4] + partial[5]) + (partial[6] + partial[7]));
            store(load(sums + first) + totals, sums + first);
            return;
        }
        for (std::size_t i = 0; i < number.value; ++i) {
            double partial[lane_group];
            std::memcpy(partial, vectors[i], sizeof(partial));
            sums[first + i] += ((partial[0] + partial[1]) + (partial[2] + partial[3])) +
                               ((partial[4] + partial[5]) + (partial[6] + partial[7]));
        }
    });
}

void add_lane_sums(const double* vectors, std::size_t stride, std::size_t count,
                   std::size_t samples, double* sums) noexcept {
    add_sums_over_lanes(
        count, samples,
        [=](std::size_t i, std::size_t lane) { return load(vectors + i * stride + lane); }, sums);
}

void add_rectified_lane_sums(const double* results, double* adjoints, std::size_t stride,
                             std::size_t count, std::size_t samples, double* sums) noexcept {
    add_sums_over_lanes(
        count, samples,
        [=](std::size_t i, std::size_t lane) {
            double* const at = adjoints + i * stride + lane;
            const Vector adjoint =
                load(at) * derivative_of_rectified(load(results + i * stride + lane));
            store(adjoint, at);
            return adjoint;
        },
        sums);
}

// The gradients of the weights of few rows.
void add_grads_of_few_rows(const AffineBlock& block, const double* adjoints, std::size_t samples,
                           double* weight_grads) {
    for (std::size_t row = 0; row < block.rows; ++row) {
        const double* const row_adjoints = adjoints + row * block.stride;
        add_sums_over_lanes(
            block.terms, samples,
            [row_adjoints, inputs = block.inputs](std::size_t term, std::size_t lane) {
                return load(row_adjoints + lane) * load(inputs[term] + lane);
            },
            weight_grads + row * block.terms);
    }
}

// The gradients of the weights if these are `terms` a row: few, so that lanes rather are rows,
// whose adjoints are transposed.
template <std::size_t terms>
void add_grads_of_few_terms(const AffineBlock& block, const double* adjoints, std::size_t samples,
                            double* weight_grads) {
    for (std::size_t first_row = 0; first_row < block.rows; first_row += vector_width) {
        const std::size_t left = block.rows - first_row;
        const std::size_t count = left < vector_width ? left : vector_width;
        const double* row_adjoints[vector_width];
        for (std::size_t row = 0; row < vector_width; ++row) {
            row_adjoints[row] =
                adjoints + (first_row + (row < count ? row : count - 1)) * block.stride;
        }
        Vector sums[terms];
        for (std::size_t term = 0; term < terms; ++term) {
            sums[term] = gather(weight_grads + first_row * terms + term, terms, count);
        }
        const auto add = [&](const Vector& adjoint, std::size_t lane) {
            for (std::size_t term = 0; term < terms; ++term) {
                sums[term] += adjoint * broadcast(block.inputs[term][lane]);
            }
        };
        std::size_t lane = 0;
        for (; lane + vector_width <= samples; lane += vector_width) {
            Vector square[vector_width];
            for (std::size_t row = 0; row < vector_width; ++row) {
                square[row] = load(row_adjoints[row] + lane);
            }
            transpose(square);
            for (std::size_t i = 0; i < vector_width; ++i) {
                add(square[i], lane + i);
            }
        }
        for (; lane < samples; ++lane) {
            double column[vector_width];
            for (std::size_t row = 0; row < vector_width; ++row) {
                column[row] = row_adjoints[row][lane];
            }
            add(load(column), lane);
        }
        for (std::size_t term = 0; term < terms; ++term) {
            scatter(sums[term], weight_grads + first_row * terms + term, terms, count);
        }
    }
}

// So many lanes are chosen by the bits of a word.
constexpr std::size_t word_bits = 64;

// A bit for each of up to `word_bits` numbers, set unless the number is zero.
MGX_ALWAYS_INLINE std::uint64_t nonzero_bits(const double* numbers, std::size_t count) {
    std::uint64_t bits = 0;
    std::size_t i = 0;
#if defined(__AVX512F__)
    for (; i + 8 <= count; i += 8) {
        const std::uint64_t group =
            _mm512_cmp_pd_mask(_mm512_loadu_pd(numbers + i), _mm512_setzero_pd(), _CMP_NEQ_UQ);
        bits |= group << i;
    }
#endif
    for (; i < count; ++i) {
        bits |= std::uint64_t{numbers[i] != 0} << i;
    }
    return bits;
}

// Chooses the lanes of the adjoints that are not zero: so many words for each row, whose bits are
// lanes. The rows of a tile do equally much, so those with about as many nonzeros are put side by
// side, in `order`, and some zeros are chosen too, so that they have equally many. False if there
// are too few zeros for it to pay.
bool choose_lanes(const double* adjoints, std::size_t stride, std::size_t rows, std::size_t samples,
                  double* words, std::size_t words_per_row, double* order) {
    constexpr std::size_t classes = 16;
    const auto class_of = [&](std::size_t row) {
        std::size_t nonzeros = 0;
        for (std::size_t word = 0; word < words_per_row; ++word) {
            nonzeros += bit_count(load_bits(words + row * words_per_row + word));
        }
        return nonzeros * classes / samples;
    };
    std::size_t place[classes + 2] = {};  // of the next row of each class
    for (std::size_t row = 0; row < rows; ++row) {
        for (std::size_t word = 0; word < words_per_row; ++word) {
            const std::size_t lane = word * word_bits;
            const std::size_t lanes = samples - lane < word_bits ? samples - lane : word_bits;
            store_bits(nonzero_bits(adjoints + row * stride + lane, lanes),
                       words + row * words_per_row + word);
        }
        ++place[class_of(row) + 1];
    }
    for (std::size_t i = 1; i <= classes; ++i) {
        place[i] += place[i - 1];
    }
    for (std::size_t row = 0; row < rows; ++row) {
        store_bits(row, order + place[class_of(row)]++);
    }

    std::size_t chosen = 0;
    for_each_part<tile_rows>(rows, [&](std::size_t first, auto count) {
        double* row_words[count.value];
        for (std::size_t i = 0; i < count.value; ++i) {
            row_words[i] = words + load_bits(order + first + i) * words_per_row;
        }
        for (std::size_t word = 0; word < words_per_row; ++word) {
            std::uint64_t bits[count.value];
            std::size_t most = 0;
            for (std::size_t i = 0; i < count.value; ++i) {
                bits[i] = load_bits(row_words[i] + word);
                const std::size_t nonzeros = bit_count(bits[i]);
                most = nonzeros > most ? nonzeros : most;
            }
            for (std::size_t i = 0; i < count.value; ++i) {
                for (std::size_t more = most - bit_count(bits[i]); more > 0; --more) {
                    bits[i] |= bits[i] + 1;
                }
                store_bits(bits[i], row_words[i] + word);
            }
            chosen += count.value * most;
        }
    });
    return chosen <= rows * samples / 4 * 3;
}

bool all_finite(const double* numbers, std::size_t count) {
    Vector sums[4] = {};
    for (std::size_t i = 0; i < count; i += vector_width) {
        sums[i / vector_width % 4] += load(numbers + i);
    }
    for (const Vector& sum : sums) {
        double lanes[vector_width];
        store(sum, lanes);
        for (const double lane : lanes) {
            if (lane * 0.0 != 0.0) {
                return false;
            }
        }
    }
    return true;
}

// From so many terms on, choosing lanes is little work beside adding their products. They fill more
// than one panel, which leaves room for the words behind it.
constexpr std::size_t many_terms = 64;
static_assert(many_terms > tile_vectors * vector_width);

void affine_weight_grads(const AffineBlock& block, const double* adjoints, std::size_t samples,
                         double* weight_grads, double* scratch) noexcept {
    const auto& [weights, biases, inputs, rows, terms, stride, rectifies, is_first] = block;
    if (rows <= few_rows) {
        add_grads_of_few_rows(block, adjoints, samples, weight_grads);
        return;
    }
    constexpr std::size_t few_terms = vector_width < 4 ? vector_width : 4;
    if (terms <= few_terms) {
        with_constant<few_terms - 1>(terms - 1, [&](auto predecessor) {
            add_grads_of_few_terms<predecessor.value + 1>(block, adjoints, samples, weight_grads);
        });
        return;
    }

    constexpr std::size_t panel_columns = tile_vectors * vector_width;
    double* const order = scratch + samples * panel_columns;
    double* const words = order + rows;
    const std::size_t words_per_row = (samples + word_bits - 1) / word_bits;
    const bool few_nonzeros =
        leaves_out_zeros && terms >= many_terms &&
        rows * (words_per_row + 1) <= samples * (terms + lane_group - panel_columns) &&
        choose_lanes(adjoints, stride, rows, samples, words, words_per_row, order);

    const std::size_t term_vectors = (terms + vector_width - 1) / vector_width;
    for_each_part<tile_vectors>(term_vectors, [&](std::size_t first_vector, auto vectors) {
        constexpr std::size_t columns = vectors.value * vector_width;
        const std::size_t first_term = first_vector * vector_width;
        const std::size_t left = terms - first_term;
        const std::size_t used = left < columns ? left : columns;
        // Columns beyond the terms repeat the last one.
        transpose(
            [&](std::size_t column) {
                return inputs[first_term + (column < used ? column : used - 1)];
            },
            columns, samples, scratch, columns);
        const bool may_skip =
            leaves_out_zeros && few_nonzeros && all_finite(scratch, samples * columns);
        for_each_part<tile_rows>(rows, [&](std::size_t first, auto count) {
            std::size_t row_numbers[count.value];
            const double* row_adjoints[count.value];
            double* row_grads[count.value];
            for (std::size_t row = 0; row < count.value; ++row) {
                row_numbers[row] = few_nonzeros ? load_bits(order + first + row) : first + row;
                row_adjoints[row] = adjoints + row_numbers[row] * stride;
                row_grads[row] = weight_grads + row_numbers[row] * terms + first_term;
            }
            double padded[count.value * columns];
            // NOLINTNEXTLINE(cppcoreguidelines-pro-type-member-init): by row
            Tile<count.value, vectors.value> tile;
            for (std::size_t row = 0; row < count.value; ++row) {
                if (used < columns) {
                    std::memcpy(padded + row * columns, row_grads[row], used * sizeof(double));
                    std::memset(padded + row * columns + used, 0,
                                (columns - used) * sizeof(double));
                }
                tile.load_row(row, used < columns ? padded + row * columns : row_grads[row]);
            }
            const auto adjoint = [&](std::size_t row, std::size_t lane) {
                return row_adjoints[row][lane];
            };
            const auto lanes_of = [&](std::size_t lane) { return scratch + lane * columns; };
            if (may_skip && !tile.has_negative_zero()) {
                for (std::size_t word = 0; word < words_per_row; ++word) {
                    std::uint64_t chosen[count.value];
                    for (std::size_t row = 0; row < count.value; ++row) {
                        chosen[row] = load_bits(words + row_numbers[row] * words_per_row + word);
                    }
                    const std::size_t lane = word * word_bits;
                    tile.add_chosen_products(
                        chosen,
                        [&](std::size_t row, std::size_t i) { return adjoint(row, lane + i); },
                        [&](std::size_t i) { return lanes_of(lane + i); });
                }
            } else {
                tile.add_products(samples, adjoint, lanes_of);
            }
            for (std::size_t row = 0; row < count.value; ++row) {
                tile.store_row(row, used < columns ? padded + row * columns : row_grads[row]);
                if (used < columns) {
                    std::memcpy(row_grads[row], padded + row * columns, used * sizeof(double));
                }
            }
        });
    });
}

alignas(64) constexpr double zeros[tile_vectors * vector_width] = {};

// The gradients of the inputs if these are of few rows, so that no tile has much to add.
template <std::size_t rows>
void add_input_grads_of_few_rows(const AffineBlock& block, const double* adjoints,
                                 double* const* input_adjoints, std::size_t lanes) {
    const auto [weights, biases, inputs, row_count, terms, stride, rectifies, is_first] = block;
    for (std::size_t term = 0; term < terms; ++term) {
        double* const sums = input_adjoints[term];
        if (sums == nullptr) {
            continue;
        }
        Vector factors[rows];
        for (std::size_t row = 0; row < rows; ++row) {
            factors[row] = broadcast(weights[row * terms + term]);
        }
        for (std::size_t lane = 0; lane < lanes; lane += vector_width) {
            Vector sum = load(is_first ? zeros : sums + lane);
            for (std::size_t row = 0; row < rows; ++row) {
                sum += factors[row] * load(adjoints + row * stride + lane);
            }
            store(sum, sums + lane);
        }
    }
}

void affine_input_grads(const AffineBlock& block, const double* adjoints,
                        double* const* input_adjoints, std::size_t lanes) noexcept {
    if (block.rows <= few_rows) {
        with_constant<few_rows - 1>(block.rows - 1, [&](auto predecessor) {
            add_input_grads_of_few_rows<predecessor.value + 1>(block, adjoints, input_adjoints,
                                                               lanes);
        });
        return;
    }
    const auto& [weights, biases, inputs, rows, terms, stride, rectifies, is_first] = block;
    for (std::size_t term = 0; term < terms;) {
        // The next terms whose inputs differ, for a tile holds each sum once.
        std::size_t chosen[tile_rows];
        std::size_t chosen_count = 0;
        for (; term < terms && chosen_count < tile_rows; ++term) {
            if (input_adjoints[term] == nullptr) {
                continue;
            }
            bool occurs = false;
            for (std::size_t i = 0; i < chosen_count; ++i) {
                occurs |= input_adjoints[chosen[i]] == input_adjoints[term];
            }
            if (occurs) {
                break;
            }
            chosen[chosen_count++] = term;
        }
        for_each_part<tile_rows>(chosen_count, [&](std::size_t, auto count) {
            const double* columns[count.value];
            for (std::size_t i = 0; i < count.value; ++i) {
                columns[i] = weights + chosen[i];
            }
            for_each_part<tile_vectors>(lanes / vector_width, [&](std::size_t first_vector,
                                                                  auto vectors) {
                const std::size_t lane = first_vector * vector_width;
                // NOLINTNEXTLINE(cppcoreguidelines-pro-type-member-init): by row
                Tile<count.value, vectors.value> tile;
                for (std::size_t i = 0; i < count.value; ++i) {
                    tile.load_row(i, is_first ? zeros : input_adjoints[chosen[i]] + lane);
                }
                tile.add_products(
                    rows, [&](std::size_t i, std::size_t row) { return columns[i][row * terms]; },
                    [&](std::size_t row) { return adjoints + row * stride + lane; });
                for (std::size_t i = 0; i < count.value; ++i) {
                    tile.store_row(i, input_adjoints[chosen[i]] + lane);
                }
            });
        });
    }
}

void load_samples(const double* matrix, std::size_t columns, std::size_t samples, double* values,
                  std::size_t stride, std::size_t lanes) noexcept {
    if (columns == 1) {
        std::memcpy(values, matrix, samples * sizeof(double));
        for (std::size_t lane = samples; lane < lanes; ++lane) {
            values[lane] = matrix[samples - 1];
        }
        return;
    }
    transpose(
        [&](std::size_t lane) { return matrix + (lane < samples ? lane : samples - 1) * columns; },
        lanes, columns, values, stride);
}

void store_samples(const double* values, std::size_t stride, std::size_t columns,
                   std::size_t samples, double* matrix) noexcept {
    transpose([&](std::size_t column) { return values + column * stride; }, columns, samples,
              matrix, columns);
}
