// Planted bugs, each with its clean twin: `<bug>` and `<bug>_clean` differ in the line that is marked. All compute
// y[i] = x[i ^ 1] + 1 for i < n (n even), with blocks of 64 threads, and have 64 floats of dynamic shared memory.


__device__ int my_index() { return blockIdx.x * blockDim.x + threadIdx.x; }

extern "C" __global__ void __launch_bounds__(64) out_of_bounds_read(const float* x, float* y, int n) {
  const int i = my_index();
  if (i < n) y[i] = x[i ^ 1] + 1 + 0 * x[i + 1];  // BUG: i = n - 1
}

extern "C" __global__ void __launch_bounds__(64) out_of_bounds_read_clean(const float* x, float* y, int n) {
  const int i = my_index();
  if (i < n) y[i] = x[i ^ 1] + 1 + 0 * x[i];
}

extern "C" __global__ void __launch_bounds__(64) out_of_bounds_write(const float* x, float* y, int n) {
  const int i = my_index();
  if (i <= n) y[i] = (i < n ? x[i ^ 1] : 0.0f) + 1;  // BUG: <=
}

extern "C" __global__ void __launch_bounds__(64) out_of_bounds_write_clean(const float* x, float* y, int n) {
  const int i = my_index();
  if (i < n) y[i] = (i < n ? x[i ^ 1] : 0.0f) + 1;
}

extern "C" __global__ void __launch_bounds__(64) write_in_front(const float* x, float* y, int n) {
  const int i = my_index();
  if (i < n) y[i] = x[i ^ 1] + 1;
  if (i == 0) y[i - 1] = 0;  // BUG
}

extern "C" __global__ void __launch_bounds__(64) write_in_front_clean(const float* x, float* y, int n) {
  const int i = my_index();
  if (i < n) y[i] = x[i ^ 1] + 1;
}

extern "C" __global__ void __launch_bounds__(64) vector_past_the_end(const float* x, float* y, int n) {
  const int i = 4 * my_index();
  if (i < n) {  // BUG: n = 4 k + 2
    const float4 value = *reinterpret_cast<const float4*>(x + i);
    y[i] = value.y + 1;
    y[i + 1] = value.x + 1;
    if (i + 2 < n) y[i + 2] = value.w + 1;
    if (i + 2 < n) y[i + 3] = value.z + 1;
  }
}

extern "C" __global__ void __launch_bounds__(64) vector_past_the_end_clean(const float* x, float* y, int n) {
  const int i = 4 * my_index();
  if (i + 4 <= n) {
    const float4 value = *reinterpret_cast<const float4*>(x + i);
    y[i] = value.y + 1;
    y[i + 1] = value.x + 1;
    y[i + 2] = value.w + 1;
    y[i + 3] = value.z + 1;
  } else if (i < n) {
    y[i] = x[i + 1] + 1;
    y[i + 1] = x[i] + 1;
  }
}

extern "C" __global__ void __launch_bounds__(64) misaligned_vector(const float* x, float* y, int n) {
  const int i = 2 * my_index();
  if (i < n) {
    const float2 value = *reinterpret_cast<const float2*>(i + 2 < n ? x + i + 1 : x + i);  // BUG: odd offset
    y[i] = x[i + 1] + 1;
    y[i + 1] = x[i] + 1 + 0 * value.x;
  }
}

extern "C" __global__ void __launch_bounds__(64) misaligned_vector_clean(const float* x, float* y, int n) {
  const int i = 2 * my_index();
  if (i < n) {
    const float2 value = *reinterpret_cast<const float2*>(x + i);
    y[i] = x[i + 1] + 1;
    y[i + 1] = x[i] + 1 + 0 * value.x;
  }
}

extern "C" __global__ void __launch_bounds__(64) misaligned_shared_vector(const float* x, float* y, int n) {
  __shared__ float s[64];
  const int i = my_index(), t = threadIdx.x;
  if (i < n) s[t] = x[i];
  __syncthreads();
  if (i < n) {
    const float2 pair = *reinterpret_cast<const float2*>(&s[t & ~1]);  // BUG: s is as aligned as a float
    y[i] = (t & 1 ? pair.x : pair.y) + 1;
  }
}

extern "C" __global__ void __launch_bounds__(64) misaligned_shared_vector_clean(const float* x, float* y, int n) {
  __shared__ __align__(8) float s[64];
  const int i = my_index(), t = threadIdx.x;
  if (i < n) s[t] = x[i];
  __syncthreads();
  if (i < n) {
    const float2 pair = *reinterpret_cast<const float2*>(&s[t & ~1]);
    y[i] = (t & 1 ? pair.x : pair.y) + 1;
  }
}

extern "C" __global__ void __launch_bounds__(64) missing_syncthreads(const float* x, float* y, int n) {
  __shared__ float s[64];
  const int i = my_index();
  s[63 - threadIdx.x] = i < n ? x[i] : 0;  // another warp reads it
  // BUG
  const float value = s[63 - (threadIdx.x ^ 1)];
  __syncthreads();
  s[threadIdx.x] = value;
  __syncthreads();
  if (i < n) y[i] = s[threadIdx.x] + 1;
}

extern "C" __global__ void __launch_bounds__(64) missing_syncthreads_clean(const float* x, float* y, int n) {
  __shared__ float s[64];
  const int i = my_index();
  s[63 - threadIdx.x] = i < n ? x[i] : 0;
  __syncthreads();
  const float value = s[63 - (threadIdx.x ^ 1)];
  __syncthreads();
  s[threadIdx.x] = value;
  __syncthreads();
  if (i < n) y[i] = s[threadIdx.x] + 1;
}

// The barrier between a pass over a tile and the next: results are right in most orders of threads.
extern "C" __global__ void __launch_bounds__(64) missing_second_syncthreads(const float* x, float* y, int n) {
  __shared__ float s[64];
  const int i = my_index();
  for (int pass = 0; pass < 2; ++pass) {
    s[threadIdx.x] = i < n ? x[i] : 0;
    __syncthreads();
    if (i < n) y[i] = s[threadIdx.x ^ 1] + 1;
    // BUG
  }
}

extern "C" __global__ void __launch_bounds__(64) missing_second_syncthreads_clean(const float* x, float* y, int n) {
  __shared__ float s[64];
  const int i = my_index();
  for (int pass = 0; pass < 2; ++pass) {
    s[threadIdx.x] = i < n ? x[i] : 0;
    __syncthreads();
    if (i < n) y[i] = s[threadIdx.x ^ 1] + 1;
    __syncthreads();
  }
}

extern "C" __global__ void __launch_bounds__(64) missing_syncwarp(const float* x, float* y, int n) {
  __shared__ float s[64];
  const int i = my_index();
  s[threadIdx.x] = i < n ? x[i] : 0;
  // BUG: lanes of a warp do not run in step
  if (i < n) y[i] = s[threadIdx.x ^ 1] + 1;
}

extern "C" __global__ void __launch_bounds__(64) missing_syncwarp_clean(const float* x, float* y, int n) {
  __shared__ float s[64];
  const int i = my_index();
  s[threadIdx.x] = i < n ? x[i] : 0;
  __syncwarp();
  if (i < n) y[i] = s[threadIdx.x ^ 1] + 1;
}

extern "C" __global__ void __launch_bounds__(64) shuffle_as_barrier(const float* x, float* y, int n) {
  __shared__ float s[64];
  const int i = my_index();
  s[threadIdx.x] = i < n ? x[i] : 0;
  __shfl_xor_sync(0xffffffffu, 0, 1);  // BUG: a shuffle orders no memory
  if (i < n) y[i] = s[threadIdx.x ^ 1] + 1;
}

extern "C" __global__ void __launch_bounds__(64) shuffle_as_barrier_clean(const float* x, float* y, int n) {
  __shared__ float s[64];
  const int i = my_index();
  s[threadIdx.x] = i < n ? x[i] : 0;
  __shfl_xor_sync(0xffffffffu, 0, 1);
  __syncwarp();
  if (i < n) y[i] = s[threadIdx.x ^ 1] + 1;
}

extern "C" __global__ void __launch_bounds__(64) shared_overrun(const float* x, float* y, int n) {
  __shared__ float s[64];
  const int i = my_index();
  s[threadIdx.x + 1] = i < n ? x[i] : 0;  // BUG: thread 63
  __syncthreads();
  if (i < n) y[i] = (threadIdx.x == 0 ? x[1] : s[(threadIdx.x ^ 1) + 1]) + 1;
}

extern "C" __global__ void __launch_bounds__(64) shared_overrun_clean(const float* x, float* y, int n) {
  __shared__ float s[65];
  const int i = my_index();
  s[threadIdx.x + 1] = i < n ? x[i] : 0;
  __syncthreads();
  if (i < n) y[i] = s[(threadIdx.x ^ 1) + 1] + 1;
}

extern "C" __global__ void __launch_bounds__(64) shared_row_overrun(const float* x, float* y, int n) {
  __shared__ float s[8][8];
  const int i = my_index(), t = threadIdx.x;
  s[0][t] = i < n ? x[i] : 0;  // BUG: inside of the array, outside of its row
  __syncthreads();
  if (i < n) y[i] = s[(t ^ 1) / 8][(t ^ 1) % 8] + 1;
}

extern "C" __global__ void __launch_bounds__(64) shared_row_overrun_clean(const float* x, float* y, int n) {
  __shared__ float s[8][8];
  const int i = my_index(), t = threadIdx.x;
  s[t / 8][t % 8] = i < n ? x[i] : 0;
  __syncthreads();
  if (i < n) y[i] = s[(t ^ 1) / 8][(t ^ 1) % 8] + 1;
}

extern "C" __global__ void __launch_bounds__(64) dynamic_shared_overrun(const float* x, float* y, int n) {
  extern __shared__ float d[];
  const int i = my_index();
  d[threadIdx.x + 1] = i < n ? x[i] : 0;  // BUG: the launch asks for 64 floats
  __syncthreads();
  if (i < n) y[i] = d[(threadIdx.x ^ 1) + 1] + 1;
}

extern "C" __global__ void __launch_bounds__(64) dynamic_shared_overrun_clean(const float* x, float* y, int n) {
  extern __shared__ float d[];
  const int i = my_index();
  d[threadIdx.x] = i < n ? x[i] : 0;
  __syncthreads();
  if (i < n) y[i] = d[threadIdx.x ^ 1] + 1;
}

extern "C" __global__ void __launch_bounds__(64) uninitialised_shared(const float* x, float* y, int n) {
  __shared__ float s[64], bias[2];
  const int i = my_index();
  s[threadIdx.x] = i < n ? x[i] : 0;
  if (threadIdx.x == 0) bias[0] = 1;  // BUG: bias[1] has no value
  __syncthreads();
  if (i < n) y[i] = s[threadIdx.x ^ 1] + bias[threadIdx.x & 1];
}

extern "C" __global__ void __launch_bounds__(64) uninitialised_shared_clean(const float* x, float* y, int n) {
  __shared__ float s[64], bias[2];
  const int i = my_index();
  s[threadIdx.x] = i < n ? x[i] : 0;
  if (threadIdx.x < 2) bias[threadIdx.x] = 1;
  __syncthreads();
  if (i < n) y[i] = s[threadIdx.x ^ 1] + bias[threadIdx.x & 1];
}

extern "C" __global__ void __launch_bounds__(64) shared_from_the_block_before(const float* x, float* y, int n) {
  __shared__ float one;
  const int i = my_index();
  if (i == 0) one = 1;  // BUG: the other blocks have shared memory of their own
  __syncthreads();
  if (i < n) y[i] = x[i ^ 1] + one;
}

extern "C" __global__ void __launch_bounds__(64) shared_from_the_block_before_clean(const float* x, float* y, int n) {
  __shared__ float one;
  const int i = my_index();
  if (threadIdx.x == 0) one = 1;
  __syncthreads();
  if (i < n) y[i] = x[i ^ 1] + one;
}

extern "C" __global__ void __launch_bounds__(64) uninitialised_register(const float* x, float* y, int n) {
  const int i = my_index();
  float sum[2];
  sum[0] = 1;  // BUG: sum[1] has no value
  volatile int odd = i & 1;
  if (i < n) y[i] = sum[odd] + x[i ^ 1];
}

extern "C" __global__ void __launch_bounds__(64) uninitialised_register_clean(const float* x, float* y, int n) {
  const int i = my_index();
  float sum[2];
  sum[0] = sum[1] = 1;
  volatile int odd = i & 1;
  if (i < n) y[i] = sum[odd] + x[i ^ 1];
}

extern "C" __global__ void __launch_bounds__(64) divergent_barrier(const float* x, float* y, int n) {
  __shared__ float s[64];
  const int i = my_index();
  if (i < n) {
    s[threadIdx.x] = x[i];
    __syncthreads();  // BUG: two barriers under a condition
    y[i] = s[threadIdx.x ^ 1] + 1;
  } else {
    __syncthreads();
  }
}

extern "C" __global__ void __launch_bounds__(64) divergent_barrier_clean(const float* x, float* y, int n) {
  __shared__ float s[64];
  const int i = my_index();
  if (i < n) s[threadIdx.x] = x[i];
  __syncthreads();
  if (i < n) y[i] = s[threadIdx.x ^ 1] + 1;
}

extern "C" __global__ void __launch_bounds__(64) barrier_after_return(const float* x, float* y, int n) {
  __shared__ float s[64];
  const int i = my_index();
  if (i >= n) return;  // BUG
  s[threadIdx.x] = x[i];
  __syncthreads();
  y[i] = s[threadIdx.x ^ 1] + 1;
}

extern "C" __global__ void __launch_bounds__(64) barrier_after_return_clean(const float* x, float* y, int n) {
  __shared__ float s[64];
  const int i = my_index();
  if (i < n) s[threadIdx.x] = x[i];
  __syncthreads();
  if (i >= n) return;
  y[i] = s[threadIdx.x ^ 1] + 1;
}

extern "C" __global__ void __launch_bounds__(64) shuffle_from_inactive_lane(const float* x, float* y, int n) {
  const int i = my_index();
  const float value = i < n ? x[i] : 0;
  if (threadIdx.x % 32 < 31) {
    const float other = __shfl_xor_sync(0x7fffffffu, value, 1);  // BUG: lane 30 reads lane 31
    if (i < n) y[i] = (threadIdx.x % 32 == 30 ? x[i + 1] : other) + 1;
  } else if (i < n) {
    y[i] = x[i - 1] + 1;
  }
}

extern "C" __global__ void __launch_bounds__(64) shuffle_from_inactive_lane_clean(const float* x, float* y, int n) {
  const int i = my_index();
  const float value = i < n ? x[i] : 0;
  const float other = __shfl_xor_sync(0xffffffffu, value, 1);
  if (i < n) y[i] = other + 1;
}

extern "C" __global__ void __launch_bounds__(64) shuffle_without_a_named_lane(const float* x, float* y, int n) {
  const int i = my_index();
  if (threadIdx.x % 2 == 0) {
    const float mine = __shfl_sync(0xffffffffu, i < n ? x[i + 1] : 0, threadIdx.x);  // BUG: odd lanes do not come here,
    if (i < n) y[i] = mine + 1;                                                      // but on to the next shuffle
  }
  const float other = __shfl_up_sync(0xffffffffu, i < n ? x[i] : 0, 1);
  if (threadIdx.x % 2 == 1 && i < n) y[i] = other + 1;
}

extern "C" __global__ void __launch_bounds__(64) shuffle_without_a_named_lane_clean(const float* x, float* y, int n) {
  const int i = my_index();
  if (threadIdx.x % 2 == 0) {
    const float mine = __shfl_sync(0x55555555u, i < n ? x[i + 1] : 0, threadIdx.x);
    if (i < n) y[i] = mine + 1;
  }
  const float other = __shfl_up_sync(0xffffffffu, i < n ? x[i] : 0, 1);
  if (threadIdx.x % 2 == 1 && i < n) y[i] = other + 1;
}

extern "C" __global__ void __launch_bounds__(64) barrier_against_shuffle(const float* x, float* y, int n) {
  const int i = my_index();
  if (threadIdx.x % 32 == 0) __syncthreads();  // BUG: lane 0 waits for the block, its warp for lane 0
  const float other = __shfl_xor_sync(0xffffffffu, i < n ? x[i] : 0, 1);
  if (i < n) y[i] = other + 1;
}

extern "C" __global__ void __launch_bounds__(64) barrier_against_shuffle_clean(const float* x, float* y, int n) {
  const int i = my_index();
  __syncthreads();
  const float other = __shfl_xor_sync(0xffffffffu, i < n ? x[i] : 0, 1);
  if (i < n) y[i] = other + 1;
}

extern "C" __global__ void __launch_bounds__(64) race_between_blocks(const float* x, float* y, int n) {
  const int i = my_index();
  if (i < n) y[i] = x[i ^ 1] + 1;
  if (threadIdx.x == 0 && i + 64 < n) y[i + 64] = x[i + 65] + 1;  // BUG: the same value, of the next block's element
}

extern "C" __global__ void __launch_bounds__(64) race_between_blocks_clean(const float* x, float* y, int n) {
  const int i = my_index();
  if (i < n) y[i] = x[i ^ 1] + 1;
}

// The block that comes last undoes what the others did; it has to see it first.
extern "C" __global__ void __launch_bounds__(64) missing_fence(const float* x, float* y, int n) {
  __shared__ unsigned arrived;
  unsigned* counter = reinterpret_cast<unsigned*>(y + n);
  const int i = my_index();
  if (i < n) y[i] = x[i ^ 1];
  __syncthreads();
  if (threadIdx.x == 0) arrived = atomicAdd(counter, 1u);  // BUG: no fences around it
  __syncthreads();
  if (arrived == gridDim.x - 1)
    for (int k = threadIdx.x; k < n; k += blockDim.x) y[k] += 1;
}

extern "C" __global__ void __launch_bounds__(64) missing_fence_clean(const float* x, float* y, int n) {
  __shared__ unsigned arrived;
  unsigned* counter = reinterpret_cast<unsigned*>(y + n);
  const int i = my_index();
  if (i < n) y[i] = x[i ^ 1];
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) {
    __threadfence();
    arrived = atomicAdd(counter, 1u);
    __threadfence();
  }
  __syncthreads();
  if (arrived == gridDim.x - 1)
    for (int k = threadIdx.x; k < n; k += blockDim.x) y[k] += 1;
}

extern "C" __global__ void __launch_bounds__(64) sum_by_float_atomics(const float* x, float* y, int n) {
  const int i = my_index();
  float* sum = y + n;
  if (i < n) atomicAdd(sum, 1.0f / (1 + i));  // BUG: the order of the blocks decides how it is rounded
  if (i < n) y[i] = x[i ^ 1] + 1;
}

extern "C" __global__ void __launch_bounds__(64) sum_by_float_atomics_clean(const float* x, float* y, int n) {
  const int i = my_index();
  unsigned* sum = reinterpret_cast<unsigned*>(y + n);
  if (i < n) atomicAdd(sum, unsigned(4294967296.0 / (1 + i)) >> 8);
  if (i < n) y[i] = x[i ^ 1] + 1;
}

extern "C" __global__ void __launch_bounds__(64) warp_found_by_activemask(const float* x, float* y, int n) {
  const int i = my_index();
  const unsigned mask = __activemask();  // BUG: names whoever happens to be here
  const float value = i < n ? x[i] : 0;
  const bool both = mask >> (threadIdx.x % 32 ^ 1) & 1;
  const float other = __shfl_xor_sync(mask, value, both);
  if (i < n) y[i] = other + 1;
}

extern "C" __global__ void __launch_bounds__(64) warp_found_by_activemask_clean(const float* x, float* y, int n) {
  const int i = my_index();
  const float value = i < n ? x[i] : 0;
  const float other = __shfl_xor_sync(0xffffffffu, value, 1);
  if (i < n) y[i] = other + 1;
}

extern "C" __global__ void __launch_bounds__(64) shift_by_the_width(const float* x, float* y, int n) {
  const int i = my_index();
  const unsigned below = i < n ? 0xffffffffu >> (32 - threadIdx.x % 32) : 0;  // BUG: lane 0 shifts by 32
  if (i < n) y[i] = x[i ^ 1] + 1 + 0.0f * below;
}

extern "C" __global__ void __launch_bounds__(64) shift_by_the_width_clean(const float* x, float* y, int n) {
  const int i = my_index();
  const unsigned below = i < n ? (1u << threadIdx.x % 32) - 1 : 0;
  if (i < n) y[i] = x[i ^ 1] + 1 + 0.0f * below;
}

extern "C" __global__ void __launch_bounds__(64) index_overflow(const float* x, float* y, int n) {
  const int i = my_index();
  const int far = (i + 1) * 1000000007;  // BUG: does not fit
  if (i < n) y[i] = x[i ^ 1] + 1 + 0.0f * far;
}

extern "C" __global__ void __launch_bounds__(64) index_overflow_clean(const float* x, float* y, int n) {
  const int i = my_index();
  const long long far = (i + 1) * 1000000007ll;
  if (i < n) y[i] = x[i ^ 1] + 1 + 0.0f * far;
}

// Copies as by cp.async (kernels/cupy_cuda/async_copy.cuh).

extern "C" __global__ void __launch_bounds__(64) missing_async_wait(const float* x, float* y, int n) {
  __shared__ float s[64];
  const int i = my_index();
  cuda_cpu::async_copy(&s[threadIdx.x], x + i, 4, i < n);
  cuda_cpu::async_commit();
  __syncthreads();
  if (i < n) y[i] = s[threadIdx.x ^ 1] + 1;  // BUG: the copies may still be under way
}

extern "C" __global__ void __launch_bounds__(64) missing_async_wait_clean(const float* x, float* y, int n) {
  __shared__ float s[64];
  const int i = my_index();
  cuda_cpu::async_copy(&s[threadIdx.x], x + i, 4, i < n);
  cuda_cpu::async_commit();
  cuda_cpu::async_wait(0);
  __syncthreads();
  if (i < n) y[i] = s[threadIdx.x ^ 1] + 1;
}

extern "C" __global__ void __launch_bounds__(64) async_wait_after_barrier(const float* x, float* y, int n) {
  __shared__ float s[64];
  const int i = my_index();
  cuda_cpu::async_copy(&s[threadIdx.x], x + i, 4, i < n);
  cuda_cpu::async_commit();
  __syncthreads();
  cuda_cpu::async_wait(0);  // BUG: a thread waits for its own copies alone, so this has to come before the barrier
  if (i < n) y[i] = s[threadIdx.x ^ 1] + 1;
}

extern "C" __global__ void __launch_bounds__(64) async_wait_after_barrier_clean(const float* x, float* y, int n) {
  __shared__ float s[64];
  const int i = my_index();
  cuda_cpu::async_copy(&s[threadIdx.x], x + i, 4, i < n);
  cuda_cpu::async_commit();
  cuda_cpu::async_wait(0);
  __syncthreads();
  if (i < n) y[i] = s[threadIdx.x ^ 1] + 1;
}

// The next tile is on its way while this one is read.
extern "C" __global__ void __launch_bounds__(64) async_copy_over_what_is_read(const float* x, float* y, int n) {
  __shared__ float s[2][64];
  const int i = my_index();
  cuda_cpu::async_copy(&s[0][threadIdx.x], x + i, 4, i < n);
  cuda_cpu::async_commit();
  for (int tile = 0; tile < 3; ++tile) {
    cuda_cpu::async_wait(0);
    __syncthreads();
    if (i < n) y[i] = s[0][threadIdx.x ^ 1] + 1;
    cuda_cpu::async_copy(&s[0][threadIdx.x], x + i, 4, i < n);  // BUG: other threads may still read it
    cuda_cpu::async_commit();
  }
}

extern "C" __global__ void __launch_bounds__(64) async_copy_over_what_is_read_clean(const float* x, float* y, int n) {
  __shared__ float s[2][64];
  const int i = my_index();
  cuda_cpu::async_copy(&s[0][threadIdx.x], x + i, 4, i < n);
  cuda_cpu::async_commit();
  for (int tile = 0; tile < 3; ++tile) {
    cuda_cpu::async_wait(0);
    __syncthreads();
    if (i < n) y[i] = s[tile % 2][threadIdx.x ^ 1] + 1;
    cuda_cpu::async_copy(&s[(tile + 1) % 2][threadIdx.x], x + i, 4, i < n);
    cuda_cpu::async_commit();
  }
}
