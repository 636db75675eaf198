// What the runtime claims to do as a GPU does, one kernel for each; test_semantics.py holds them to closed forms.

extern "C" __global__ void indices(int* out, int width, int height) {
  const int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
  const int z = blockIdx.z * blockDim.z + threadIdx.z;
  const int layer = gridDim.x * blockDim.x * gridDim.y * blockDim.y;
  assert(width == gridDim.x * blockDim.x && height == gridDim.y * blockDim.y);
  const int rank = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  out[z * layer + y * width + x] = rank + 1000 * (blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z));
}

// out[kind][lane] for each kind of shuffle, of values 100 + lane
extern "C" __global__ void shuffles(int* out, int by, int width) {
  const int lane = threadIdx.x, value = 100 + lane;
  out[0 * 32 + lane] = __shfl_sync(0xffffffffu, value, by, width);
  out[1 * 32 + lane] = __shfl_up_sync(0xffffffffu, value, by, width);
  out[2 * 32 + lane] = __shfl_down_sync(0xffffffffu, value, by, width);
  out[3 * 32 + lane] = __shfl_xor_sync(0xffffffffu, value, by, width);
}

// Two halves of a warp, each with a mask of its own, in different places of the program.
extern "C" __global__ void half_warps(double* out) {
  const int lane = threadIdx.x;
  if (lane < 16)
    out[lane] = __shfl_xor_sync(0x0000ffffu, 0.5 + lane, 15);
  else
    out[lane] = __shfl_xor_sync(0xffff0000u, 0.25 + lane, 1);
}

// Lanes that have returned are not waited for.
extern "C" __global__ void after_return(int* out, int n) {
  const int lane = threadIdx.x;
  if (lane >= n) return;
  __syncwarp();
  out[lane] = __popc(__ballot_sync(0xffffffffu, lane % 2 == 0));
}

extern "C" __global__ void votes(const int* predicate, int* out) {
  const int i = threadIdx.x, p = predicate[i];
  out[i] = __ballot_sync(0xffffffffu, p);
  out[64 + i] = __any_sync(0xffffffffu, p);
  out[128 + i] = __all_sync(0xffffffffu, p);
  out[192 + i] = __syncthreads_count(p);
  out[256 + i] = __syncthreads_or(p);
  out[320 + i] = __syncthreads_and(p);
}

// A tree in dynamic shared memory: the sum of a block.
extern "C" __global__ void block_sums(const double* x, double* sums, int n) {
  extern __shared__ double tree[];
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  tree[threadIdx.x] = i < n ? x[i] : 0;
  for (int half = blockDim.x / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < half) tree[threadIdx.x] += tree[threadIdx.x + half];
  }
  if (threadIdx.x == 0) sums[blockIdx.x] = tree[0];
}

template <int Rows, typename T>
__device__ T* own_array() {  // shared memory of each instance of a template is its own
  __shared__ T values[Rows];
  return values;
}

extern "C" __global__ void arrays_of_templates(int* out) {
  int *a = own_array<4, int>(), *b = own_array<5, int>();
  float* c = own_array<4, float>();
  __shared__ alignas(32) int aligned[3], plain;
  out[0] = a != b && (void*)a != (void*)c && a == own_array<4, int>();
  out[1] = reinterpret_cast<unsigned long long>(aligned) % 32;
  plain = 7;
  out[2] = plain;
}

extern "C" __global__ void fresh_shared(float* values, int* words) {
  __shared__ float s[8];
  __shared__ int t[8];
  values[8 * blockIdx.x + threadIdx.x] = s[threadIdx.x];
  words[8 * blockIdx.x + threadIdx.x] = t[threadIdx.x];
  s[threadIdx.x] = 1;
  t[threadIdx.x] = 1;
}

extern "C" __global__ void atomics(int* i, unsigned* u, unsigned long long* l, double* d) {
  const int rank = blockIdx.x * blockDim.x + threadIdx.x;
  atomicAdd(&i[0], rank);
  atomicSub(&i[1], rank);
  atomicMax(&i[2], rank);
  atomicMin(&i[3], -rank);
  atomicCAS(&i[4], 0, 5);
  atomicInc(&u[0], 9u);
  atomicDec(&u[1], 9u);
  atomicAnd(&u[2], ~(1u << rank % 32));
  atomicOr(&u[3], 1u << rank % 32);
  atomicXor(&u[4], 1u << rank % 32);
  atomicMax(&u[5], unsigned(rank));
  atomicAdd(&l[0], 1ull << 33);
  atomicAdd(&d[0], 1.0);
}

// atomicMax of float by atomicCAS, as the Programming Guide builds what is missing
extern "C" __global__ void largest(const float* x, float* result, int n) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= n) return;
  unsigned* bits = reinterpret_cast<unsigned*>(result);
  unsigned seen = __float_as_uint(-3.0e38f), assumed;
  do {
    assumed = seen;
    if (__uint_as_float(assumed) >= x[i]) break;
    seen = atomicCAS(bits, assumed, __float_as_uint(x[i]));
  } while (seen != assumed);
}

extern "C" __global__ void bit_functions(const unsigned* a, const unsigned* b, unsigned* out, int n) {
  for (int i = 0; i < n; ++i) {
    out[i] = __umulhi(a[i], b[i]);
    out[n + i] = __popc(a[i]);
    out[2 * n + i] = __clz(a[i]);
    out[3 * n + i] = __ffs(a[i]);
    out[4 * n + i] = __brev(a[i]);
    out[5 * n + i] = __float_as_uint(__uint_as_float(a[i]));
    out[6 * n + i] = __mulhi(int(a[i]), int(b[i]));
  }
}

extern "C" __global__ void float_functions(const float* a, const float* b, const float* c, float* out, int n) {
  for (int i = 0; i < n; ++i) {
    out[i] = __fmaf_rn(a[i], b[i], c[i]);
    out[n + i] = a[i] * b[i] + c[i];
    out[2 * n + i] = __frcp_rn(a[i]);
    out[3 * n + i] = rsqrtf(a[i]);
    out[4 * n + i] = __expf(a[i]);
    out[5 * n + i] = __logf(a[i]);
    out[6 * n + i] = __saturatef(b[i]);
    out[7 * n + i] = fmaxf(a[i], b[i]);
  }
}

extern "C" __global__ void half(float* x) { x[0] *= 0.5f; }

extern "C" __global__ void every_type(float f, double d, int i, unsigned u, long long l, bool b, unsigned char c,
                                      unsigned short h, const double* null, double* out) {
  out[0] = f;
  out[1] = d;
  out[2] = i;
  out[3] = u;
  out[4] = double(l);
  out[5] = b;
  out[6] = c;
  out[7] = h;
  out[8] = null == nullptr;
}

extern "C" __global__ void __launch_bounds__(32 * 4) bounded(float* x) { x[threadIdx.x] = 1; }

extern "C" __global__ void addresses(const float* a, const float* b, long long* out) {
  out[0] = reinterpret_cast<long long>(a) % 256;
  out[1] = reinterpret_cast<long long>(b) - reinterpret_cast<long long>(a);
}

extern "C" __global__ void order_of_threads(int* position, int* counter) {
  position[blockIdx.x * blockDim.x + threadIdx.x] = atomicAdd(counter, 1);
}

extern "C" __global__ void deep_stack(int* out, int n) {
  volatile int filler[2000];
  for (int i = 0; i < 2000; ++i) filler[i] = i;
  __syncthreads();
  if (threadIdx.x == 0) out[blockIdx.x] = filler[n];
}

extern "C" __global__ void traps(int* out) {
  out[0] = 1;
  assert(out[0] == 2);
}

extern "C" __global__ void gather(float* out) {  // for headers with plain C++ in the place of an instruction
  struct Three {
    float a[3];
  } mine, all[32];
  for (int k = 0; k < 3; ++k) mine.a[k] = 10 * threadIdx.x + k;
  const unsigned mask = threadIdx.x % 32 < 8 ? 0xffu : 0xffffff00u;
  cuda_cpu::warp_gather(mask, &mine, sizeof mine, all, cuda_cpu::Where::current());
  out[threadIdx.x] = all[threadIdx.x % 32 < 8 ? 7 - threadIdx.x % 32 : 39 - threadIdx.x % 32].a[2];
}

// Three groups of copies; out: what is there after each wait, and before any.
extern "C" __global__ void copies(const float* x, float* out) {
  __shared__ alignas(16) float s[3][4];
  for (int group = 0; group < 3; ++group) {
    cuda_cpu::async_copy(s[group], x + 4 * group, 16, group != 2);
    cuda_cpu::async_commit();
  }
  for (int left = 3; left >= 0; --left) {
    cuda_cpu::async_wait(left);
    for (int i = 0; i < 12; ++i) out[12 * (3 - left) + i] = s[i / 4][i % 4];
  }
}
