/* What cuda/attention_cudnn.h declares, as plain sums on the stream: the library's place for the
 * backend's own code, not the library's interface. Off unless EMU_CUDNN gives it a version. Ragged
 * offsets and lengths are read when the work runs; rows outside of documents are not written, and
 * the workspace is poisoned. */
#include <algorithm>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vector>

#include "attention_cudnn.h"
#include "emu_stream.h"
#include "scratch.h"

struct lc_cudnn {
    cudaStream_t stream;
};

struct lc_cudnn_plan {
    lc_cudnn_case of;
    char name[64];
    int runs;
};

namespace
{
// EMU_CUDNN_FAULT: which misbehaviour is planted, perhaps for one direction ("wrong-forward").
bool has_fault(const char *name, const lc_cudnn_case *of)
{
    const char *text = getenv("EMU_CUDNN_FAULT");
    if (!text || strncmp(text, name, strlen(name)) != 0)
        return false;
    const char *rest = text + strlen(name);
    return *rest == '\0' ||
           (*rest == '-' && of && strcmp(rest + 1, of->is_backward ? "backward" : "forward") == 0);
}

float load(const void *data, int64_t index)
{
    const uint32_t bits = uint32_t(static_cast<const uint16_t *>(data)[index]) << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

void store(void *data, int64_t index, double value)
{
    const float rounded = float(value);
    uint32_t bits;
    memcpy(&bits, &rounded, sizeof bits);
    bits += 0x7fff + (bits >> 16 & 1);
    static_cast<uint16_t *>(data)[index] = uint16_t(bits >> 16);
}

// One head of one document.
struct Head {
    const lc_cudnn_case *of;
    const lc_cudnn_tensors *t;
    int document, head, kv_head, length;

    int64_t at(lc_cudnn_offsets which, int64_t ld, int64_t row, int64_t column) const
    {
        return t->offsets[which][document] + row * ld + column;
    }
    int64_t q(int row) const
    {
        return at(LC_CUDNN_Q, of->q_ld, row, head * of->head_dim);
    }
    int64_t k(int row) const
    {
        return at(LC_CUDNN_K, of->k_ld, row, kv_head * of->head_dim);
    }
    int64_t v(int row) const
    {
        return at(LC_CUDNN_V, of->v_ld, row, kv_head * of->head_dim);
    }
    int64_t out(int row) const
    {
        return at(LC_CUDNN_OUT, of->out_ld, row, head * of->head_dim);
    }
    int64_t dout(int row) const
    {
        return at(LC_CUDNN_DOUT, of->dout_ld, row, head * of->head_dim);
    }
    int64_t lse(int row) const
    {
        return at(LC_CUDNN_LSE, of->heads, row, head);
    }
    int64_t dq(int row) const
    {
        return at(LC_CUDNN_DQ, int64_t(of->heads) * of->head_dim, row, head * of->head_dim);
    }
    int64_t dkv(int row) const
    {
        return at(LC_CUDNN_DKV, int64_t(of->kv_heads) * of->head_dim, row, kv_head * of->head_dim);
    }
    int first_key(int row) const
    {
        return of->window > 0 ? std::max(0, row - of->window + 1) : 0;
    }
    double dot(const void *a, int64_t i, const void *b, int64_t j) const
    {
        double sum = 0;
        for (int d = 0; d < of->head_dim; d++)
            sum += double(load(a, i + d)) * load(b, j + d);
        return sum;
    }
};

void forward(const Head &h)
{
    std::vector<double> p(h.length), sum(h.of->head_dim);
    for (int i = 0; i < h.length; i++) {
        const int first = h.first_key(i);
        double most = -INFINITY, total = 0;
        for (int j = first; j <= i; j++) {
            p[j] = h.of->scale * h.dot(h.t->q, h.q(i), h.t->k, h.k(j));
            most = std::max(most, p[j]);
        }
        std::fill(sum.begin(), sum.end(), 0.0);
        for (int j = first; j <= i; j++) {
            p[j] = exp(p[j] - most);
            total += p[j];
            for (int d = 0; d < h.of->head_dim; d++)
                sum[d] += p[j] * load(h.t->v, h.v(j) + d);
        }
        for (int d = 0; d < h.of->head_dim; d++)
            store(h.t->out, h.out(i) + d, sum[d] / total);
        h.t->lse[h.lse(i)] = float(most + log(total));
    }
}

// dk, dv: length x head_dim of the kv-head, summed over its heads.
void backward(const Head &h, std::vector<double> &dk, std::vector<double> &dv)
{
    const int dim = h.of->head_dim;
    std::vector<double> dq(dim);
    for (int i = 0; i < h.length; i++) {
        const double delta = h.dot(h.t->out, h.out(i), h.t->dout, h.dout(i));
        std::fill(dq.begin(), dq.end(), 0.0);
        for (int j = h.first_key(i); j <= i; j++) {
            const double score = h.of->scale * h.dot(h.t->q, h.q(i), h.t->k, h.k(j));
            const double p = exp(score - h.t->lse[h.lse(i)]);
            const double ds =
                h.of->scale * p * (h.dot(h.t->v, h.v(j), h.t->dout, h.dout(i)) - delta);
            for (int d = 0; d < dim; d++) {
                dq[d] += ds * load(h.t->k, h.k(j) + d);
                dk[j * dim + d] += ds * load(h.t->q, h.q(i) + d);
                dv[j * dim + d] += p * load(h.t->dout, h.dout(i) + d);
            }
        }
        for (int d = 0; d < dim; d++)
            store(h.t->dq, h.dq(i) + d, dq[d]);
    }
}

void run_document(const lc_cudnn_case &of, const lc_cudnn_tensors &t, int document)
{
    const int length = t.lengths[document], dim = of.head_dim;
    if (length > of.longest) {
        fprintf(stderr, "EMU: cuDNN: a document of %d rows in a plan for %d\n", length, of.longest);
        exit(66);
    }
    for (int kv = 0; kv < of.kv_heads; kv++) {
        std::vector<double> dk(size_t(length) * dim), dv(dk);
        Head h = {&of, &t, document, 0, kv, length};
        const int group = of.heads / of.kv_heads;
        for (h.head = kv * group; h.head < (kv + 1) * group; h.head++)
            of.is_backward ? backward(h, dk, dv) : forward(h);
        for (int i = 0; of.is_backward && i < length; i++) {
            for (int d = 0; d < dim; d++) {
                store(t.dk, h.dkv(i) + d, dk[size_t(i) * dim + d]);
                store(t.dv, h.dkv(i) + d, dv[size_t(i) * dim + d]);
            }
        }
    }
}

// A head of the last row of the last document is off; with `wavers` another way each time.
void spoil(const lc_cudnn_case &of, const lc_cudnn_tensors &t, double by)
{
    void *result = of.is_backward ? t.dk : t.out;
    const int64_t ld = of.is_backward ? int64_t(of.kv_heads) * of.head_dim : of.out_ld;
    int document = of.documents - 1;
    while (document > 0 && t.lengths[document] == 0)
        document--;
    const int64_t row = t.lengths[document] - 1;
    const int64_t at = t.offsets[of.is_backward ? LC_CUDNN_DKV : LC_CUDNN_OUT][document] + row * ld;
    for (int d = 0; d < of.head_dim; d++)
        store(result, at + d, load(result, at + d) * (1 + by) + by);
}
} // namespace

int lc_cudnn_version(char why[LC_CUDNN_TEXT_BYTES])
{
    const char *text = getenv("EMU_CUDNN");
    int major = 0, minor = 0, patch = 0;
    if (!text || sscanf(text, "%d.%d.%d", &major, &minor, &patch) < 2) {
        snprintf(why, LC_CUDNN_TEXT_BYTES, "EMU_CUDNN gives the emulator none");
        return 0;
    }
    return major * 10000 + minor * 100 + patch;
}

lc_cudnn *lc_cudnn_open(cudaStream_t stream, char why[LC_CUDNN_TEXT_BYTES])
{
    if (has_fault("open", nullptr)) {
        snprintf(why, LC_CUDNN_TEXT_BYTES, "planted: it does not open");
        return nullptr;
    }
    return new lc_cudnn{stream};
}

void lc_cudnn_close(lc_cudnn *library)
{
    delete library;
}

lc_cudnn_plan *lc_cudnn_plan_make(lc_cudnn *library, const lc_cudnn_case *of, const char *wanted,
                                  char why[LC_CUDNN_TEXT_BYTES])
{
    if (emu::is_capturing(library->stream)) {
        fprintf(stderr, "EMU: cuDNN: a plan is made while capturing\n");
        exit(66);
    }
    lc_cudnn_plan *plan = new lc_cudnn_plan{*of, "", 0};
    snprintf(plan->name, sizeof plan->name, "eng%d_k14=%d", of->is_backward ? 6 : 9,
             of->is_ordered ? 4 : 0);
    if (has_fault("plan", of) || (wanted && strcmp(wanted, plan->name) != 0)) {
        snprintf(why, LC_CUDNN_TEXT_BYTES, "it has no plan%s%s", wanted ? " " : "",
                 wanted ? wanted : "");
        delete plan;
        return nullptr;
    }
    return plan;
}

void lc_cudnn_plan_free(lc_cudnn_plan *plan)
{
    delete plan;
}

const char *lc_cudnn_plan_name(const lc_cudnn_plan *plan)
{
    return plan->name;
}

// All that the bound allows, or more.
size_t lc_cudnn_plan_workspace(const lc_cudnn_plan *plan)
{
    const lc_cudnn_case &of = plan->of;
    return lc_cudnn_workspace_bytes(of.rows, of.heads, of.kv_heads, of.head_dim) +
           (has_fault("workspace", &of) ? 1 : 0);
}

bool lc_cudnn_run(lc_cudnn *library, lc_cudnn_plan *plan, const lc_cudnn_tensors *tensors,
                  void *workspace, char why[LC_CUDNN_TEXT_BYTES])
{
    const lc_cudnn_case of = plan->of;
    const lc_cudnn_tensors t = *tensors;
    const size_t bytes = lc_cudnn_plan_workspace(plan);
    if (!emu::is_device_memory(workspace, bytes) || has_fault("run", &of)) {
        snprintf(why, LC_CUDNN_TEXT_BYTES, "planted: it does not run");
        return false;
    }
    const double off = has_fault("wrong", &of)    ? 0.5
                       : has_fault("wavers", &of) ? 0.001 * (1 + plan->runs++)
                                                  : 0.0;
    const cudaError_t error = emu::enqueue(library->stream, "cudnn", [of, t, off, workspace] {
        memset(workspace, 0xff,
               std::min<size_t>(
                   lc_cudnn_workspace_bytes(of.rows, of.heads, of.kv_heads, of.head_dim), 1 << 16));
        for (int document = 0; document < of.documents; document++)
            run_document(of, t, document);
        if (off > 0)
            spoil(of, t, off);
    });
    if (error != cudaSuccess)
        snprintf(why, LC_CUDNN_TEXT_BYTES, "%s", cudaGetErrorString(error));
    return error == cudaSuccess;
}
