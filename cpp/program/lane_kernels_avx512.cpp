// The loops over lanes for avx512; see lane_kernels.inl.

#define MGX_LANES lanes_avx512
#define MGX_LANES_NAME "avx512"
#include "program/lane_kernels.inl"
