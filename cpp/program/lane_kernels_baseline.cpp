// The loops over lanes for baseline; see lane_kernels.inl.

#define MGX_LANES lanes_baseline
#define MGX_LANES_NAME "baseline"
#include "program/lane_kernels.inl"
