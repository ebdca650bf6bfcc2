// The loops over lanes for avx2; see lane_kernels.inl.

#define MGX_LANES lanes_avx2
#define MGX_LANES_NAME "avx2"
#include "program/lane_kernels.inl"
