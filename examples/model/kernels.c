/* Fused element-wise kernels for training on one CPU core; see fast.py.
 *
 * Activations that enter a matrix product are bf16 (stored as uint16_t), the
 * residual stream and all arithmetic are fp32.  Loops are written so that the
 * compiler vectorises them (-O3 -march=native -ffast-math). */

#include <math.h>
#include <stdint.h>
#include <string.h>

typedef uint16_t bf16;

static inline float up(bf16 h) {
    union { uint32_t u; float f; } v = {(uint32_t)h << 16};
    return v.f;
}

static inline bf16 down(float f) {
    union { float f; uint32_t u; } v = {f};
    return (bf16)((v.u + 0x7fffu + ((v.u >> 16) & 1u)) >> 16);
}

/* x += delta; y = x * rsqrt(mean(x^2) + eps) * w; keeps the inverse root. */
void add_norm(float *out, bf16 *y, float *inv, const float *x, const bf16 *delta, const float *w, long n, long d,
              float eps) {
    for (long i = 0; i < n; i++) {
        const float *a = x + i * d;
        float *o = out + i * d, s = 0;
        if (delta) {
            const bf16 *b = delta + i * d;
            for (long j = 0; j < d; j++) o[j] = a[j] + up(b[j]);
        } else
            memcpy(o, a, d * sizeof *o);
        for (long j = 0; j < d; j++) s += o[j] * o[j];
        float r = 1.0f / sqrtf(s / d + eps);
        inv[i] = r;
        for (long j = 0; j < d; j++) y[i * d + j] = down(o[j] * r * w[j]);
    }
}

/* Gradient of add_norm: dx = dres + d(norm); also as bf16 for delta. */
void add_norm_back(float *dx, bf16 *ddelta, float *dw, const float *dres, const bf16 *dy, const float *x,
                   const float *inv, const float *w, long n, long d) {
    for (long i = 0; i < n; i++) {
        const float *a = x + i * d;
        const bf16 *g = dy + i * d;
        float r = inv[i], s = 0;
        for (long j = 0; j < d; j++) s += up(g[j]) * w[j] * a[j];
        s *= r * r * r / d;
        float *o = dx + i * d;
        if (dres) {
            const float *e = dres + i * d;
            for (long j = 0; j < d; j++) o[j] = e[j] + up(g[j]) * w[j] * r - a[j] * s;
        } else
            for (long j = 0; j < d; j++) o[j] = up(g[j]) * w[j] * r - a[j] * s;
        for (long j = 0; j < d; j++) dw[j] += up(g[j]) * a[j] * r;
        if (ddelta)
            for (long j = 0; j < d; j++) ddelta[i * d + j] = down(o[j]);
    }
}

void swiglu(bf16 *y, const bf16 *gu, long n, long h) {
    for (long i = 0; i < n; i++) {
        const bf16 *g = gu + i * 2 * h, *u = g + h;
        for (long j = 0; j < h; j++) {
            float a = up(g[j]);
            y[i * h + j] = down(a / (1.0f + expf(-a)) * up(u[j]));
        }
    }
}

void swiglu_back(bf16 *dgu, const bf16 *dy, const bf16 *gu, long n, long h) {
    for (long i = 0; i < n; i++) {
        const bf16 *g = gu + i * 2 * h, *u = g + h;
        bf16 *dg = dgu + i * 2 * h, *du = dg + h;
        for (long j = 0; j < h; j++) {
            float a = up(g[j]), s = 1.0f / (1.0f + expf(-a)), e = up(dy[i * h + j]);
            dg[j] = down(e * up(u[j]) * (s + a * s * (1.0f - s)));
            du[j] = down(e * a * s);
        }
    }
}

/* qkv [b,t,3,h,d] -> q, k, v [b,h,t,d] with interleaved RoPE on q and k; q is
 * scaled.  back != 0 runs the transposed map (gradients to dqkv). */
void rope(bf16 *qkv, bf16 *q, bf16 *k, bf16 *v, const float *cs, const float *sn, long b, long t, long h, long d,
          float scale, int back) {
    long half = d / 2;
    for (long i = 0; i < b; i++)
        for (long p = 0; p < t; p++)
            for (long m = 0; m < 3; m++)
                for (long l = 0; l < h; l++) {
                    bf16 *a = qkv + (((i * t + p) * 3 + m) * h + l) * d;
                    bf16 *o = (m == 0 ? q : m == 1 ? k : v) + ((i * h + l) * t + p) * d;
                    if (m == 2) {
                        if (back) memcpy(a, o, d * sizeof *a);
                        else memcpy(o, a, d * sizeof *a);
                        continue;
                    }
                    float z = m == 0 ? scale : 1.0f, sign = back ? -1.0f : 1.0f;
                    const float *c = cs + p * half, *s = sn + p * half;
                    const bf16 *in = back ? o : a;
                    bf16 *to = back ? a : o;
                    for (long j = 0; j < half; j++) {
                        float e = up(in[2 * j]) * z, f = up(in[2 * j + 1]) * z, w = s[j] * sign;
                        to[2 * j] = down(e * c[j] - f * w);
                        to[2 * j + 1] = down(e * w + f * c[j]);
                    }
                }
}

/* Causal softmax in place on rows [g, r, n]; row r may see start + r + 1. */
void softmax(bf16 *s, long g, long rows, long n, long start) {
    float tmp[8192];
    for (long i = 0; i < g * rows; i++) {
        bf16 *a = s + i * n;
        long m = start + i % rows + 1;
        float top = -1e30f, sum = 0;
        for (long j = 0; j < m; j++) {
            tmp[j] = up(a[j]);
            top = tmp[j] > top ? tmp[j] : top;
        }
        for (long j = 0; j < m; j++) {
            tmp[j] = expf(tmp[j] - top);
            sum += tmp[j];
        }
        sum = 1.0f / sum;
        for (long j = 0; j < m; j++) a[j] = down(tmp[j] * sum);
        memset(a + m, 0, (n - m) * sizeof *a);
    }
}

/* ds = p * (dp - sum(p * dp)), in place on dp. */
void softmax_back(bf16 *dp, const bf16 *p, long g, long rows, long n, long start) {
    for (long i = 0; i < g * rows; i++) {
        bf16 *a = dp + i * n;
        const bf16 *b = p + i * n;
        long m = start + i % rows + 1;
        float s = 0;
        for (long j = 0; j < m; j++) s += up(a[j]) * up(b[j]);
        for (long j = 0; j < m; j++) a[j] = down(up(b[j]) * (up(a[j]) - s));
        memset(a + m, 0, (n - m) * sizeof *a);
    }
}

/* Cross entropy: losses, and the weighted gradient in place of the logits. */
void cross_entropy(bf16 *logits, float *loss, const int64_t *target, const float *weight, long n, long v) {
    float tmp[8192];
    for (long i = 0; i < n; i++) {
        bf16 *a = logits + i * v;
        float top = -1e30f, sum = 0;
        for (long j = 0; j < v; j++) {
            tmp[j] = up(a[j]);
            top = tmp[j] > top ? tmp[j] : top;
        }
        float at = tmp[target[i]];
        for (long j = 0; j < v; j++) {
            tmp[j] = expf(tmp[j] - top);
            sum += tmp[j];
        }
        loss[i] = logf(sum) + top - at;
        float z = weight[i] / sum;
        for (long j = 0; j < v; j++) a[j] = down(tmp[j] * z);
        a[target[i]] = down(tmp[target[i]] * z - weight[i]);
    }
}
