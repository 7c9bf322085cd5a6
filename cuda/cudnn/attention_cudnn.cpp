/*
 * cuDNN's flash attention (attention_cudnn.h) through the library's header-only frontend, which
 * makes the composite graph of the backward pass and knows what each version of the library can
 * and cannot do. It looks functions up by name in cudnn_dlhandle: nothing is linked. It throws and
 * allocates; every function here that is called from C catches all of it.
 *
 * Documents are ragged: dimensions (documents, heads, longest, head_dim) with the strides of packed
 * rows, lengths by a padding mask, and where each document begins by offsets in elements.
 */
#define NV_CUDNN_FRONTEND_USE_DYNAMIC_LOADING
#define NV_CUDNN_FRONTEND_DISABLE_LOGGING
#define CUDNN_FRONTEND_SKIP_JSON_LIB
#include <cudnn_frontend.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <array>
#include <memory>
#include <string>
#include <unordered_map>

#include "attention_cudnn.h"

namespace cudnn_frontend
{
void *cudnn_dlhandle = nullptr; // the frontend's
}

namespace fe = cudnn_frontend;

struct lc_cudnn {
    cudnnHandle_t handle;
    int major; // of the GPU
};

struct lc_cudnn_plan {
    fe::graph::Graph graph;
    std::string name;
    size_t workspace;
    bool is_backward;
};

namespace
{
constexpr int CUDA_MAJOR = 13;
constexpr int HOPPER = 9;

enum Uid : int64_t {
    UID_Q = 1,
    UID_K,
    UID_V,
    UID_OUT,
    UID_LSE,
    UID_DOUT,
    UID_DQ,
    UID_DK,
    UID_DV,
    UID_LENGTHS,
    UID_OFFSETS
}; // and one each up to UID_OFFSETS + LC_CUDNN_OFFSETS

typedef std::shared_ptr<fe::graph::Tensor_attributes> Tensor;
typedef std::unordered_map<fe::KnobType_t, int64_t> Knobs;

/* Hopper's backward engine in its one way that adds dQ up in a fixed order, with memory linear in
 * the rows: tiles of 64 x 64, STAGES = 4, from 9.25 on. The frontend's own switch takes another
 * way, whose memory is quadratic in the longest document. */
constexpr int64_t ORDERED_ENGINE = 6;
const Knobs ORDERED_KNOBS = {{fe::KnobType_t::TILE_M, 2},     {fe::KnobType_t::TILE_N, 1},
                             {fe::KnobType_t::KERNEL_CFG, 2}, {fe::KnobType_t::STREAM_K, 0},
                             {fe::KnobType_t::TILE_CGA_M, 0}, {fe::KnobType_t::STAGES, 4}};

struct Failure {
    std::string text;
};

void check(fe::error_t error, const char *what)
{
    if (error.is_bad()) {
        throw Failure{std::string(what) + ": " + error.get_message()};
    }
}

void check(cudnnStatus_t status, const char *what)
{
    if (status != CUDNN_STATUS_SUCCESS) {
        throw Failure{std::string(what) + ": " + fe::detail::get_error_string(status)};
    }
}

/* Calls `work`; what it throws becomes `why`, one line of it. */
template <class Work> bool guarded(char why[LC_CUDNN_TEXT_BYTES], Work work)
{
    const char *text = "an unknown exception";
    std::string kept;
    try {
        work();
        return true;
    } catch (const Failure &failure) {
        kept = failure.text;
        text = kept.c_str();
    } catch (const std::exception &exception) {
        kept = exception.what();
        text = kept.c_str();
    } catch (...) {
    }
    snprintf(why, LC_CUDNN_TEXT_BYTES, "%.*s", (int)strcspn(text, "\n"), text);
    return false;
}

// ---- graphs ----

class Builder
{
  public:
    Builder(fe::graph::Graph &graph, const lc_cudnn_case &of, bool has_order_flag)
        : graph(graph), of(of), has_order_flag(has_order_flag)
    {
        graph.set_io_data_type(fe::DataType_t::BFLOAT16)
            .set_intermediate_data_type(fe::DataType_t::FLOAT)
            .set_compute_data_type(fe::DataType_t::FLOAT);
        lengths = add("lengths", UID_LENGTHS, {of.documents, 1, 1, 1}, {1, 1, 1, 1},
                      fe::DataType_t::INT32);
        for (int i = 0; i < LC_CUDNN_OFFSETS; i++) {
            const bool is_used =
                of.is_backward || (i != LC_CUDNN_DOUT && i != LC_CUDNN_DQ && i != LC_CUDNN_DKV);
            offsets[i] = is_used ? add("offsets", UID_OFFSETS + i, {of.documents + 1, 1, 1, 1},
                                       {1, 1, 1, 1}, fe::DataType_t::INT64)
                                 : nullptr;
        }
        q = add_rows("q", UID_Q, of.heads, of.q_ld, LC_CUDNN_Q);
        k = add_rows("k", UID_K, of.kv_heads, of.k_ld, LC_CUDNN_K);
        v = add_rows("v", UID_V, of.kv_heads, of.v_ld, LC_CUDNN_V);
    }

    void forward()
    {
        fe::graph::SDPA_attributes attributes;
        attributes.set_name("attention").set_generate_stats(true);
        describe(attributes);
        std::array<Tensor, 2> results = graph.sdpa(q, k, v, attributes);
        give_out(results[0], UID_OUT, of.heads, of.out_ld, LC_CUDNN_OUT);
        results[1]->set_output(true).set_uid(UID_LSE);
        shape_lse(*results[1]);
    }

    void backward()
    {
        const Tensor out = add_rows("out", UID_OUT, of.heads, of.out_ld, LC_CUDNN_OUT);
        const Tensor dout = add_rows("dout", UID_DOUT, of.heads, of.dout_ld, LC_CUDNN_DOUT);
        fe::graph::Tensor_attributes shape;
        shape_lse(shape);
        const Tensor lse = graph.tensor(shape.set_name("lse").set_uid(UID_LSE));
        fe::graph::SDPA_backward_attributes attributes;
        attributes.set_name("attention_backward").set_deterministic_algorithm(has_order_flag);
        describe(attributes);
        std::array<Tensor, 3> results = graph.sdpa_backward(q, k, v, out, dout, lse, attributes);
        const int64_t q_width = (int64_t)of.heads * of.head_dim,
                      kv_width = (int64_t)of.kv_heads * of.head_dim;
        give_out(results[0], UID_DQ, of.heads, q_width, LC_CUDNN_DQ);
        give_out(results[1], UID_DK, of.kv_heads, kv_width, LC_CUDNN_DKV);
        give_out(results[2], UID_DV, of.kv_heads, kv_width, LC_CUDNN_DKV);
    }

  private:
    Tensor add(const char *name, int64_t uid, std::vector<int64_t> dims,
               std::vector<int64_t> strides, fe::DataType_t type)
    {
        return graph.tensor(fe::graph::Tensor_attributes()
                                .set_name(name)
                                .set_uid(uid)
                                .set_dim(dims)
                                .set_stride(strides)
                                .set_data_type(type));
    }

    std::vector<int64_t> dims_of(int64_t heads) const
    {
        return {of.documents, heads, of.longest, of.head_dim};
    }

    std::vector<int64_t> strides_of(int64_t ld) const
    {
        return {ld * of.longest, of.head_dim, ld, 1};
    }

    Tensor add_rows(const char *name, int64_t uid, int64_t heads, int64_t ld,
                    lc_cudnn_offsets which)
    {
        const Tensor tensor =
            add(name, uid, dims_of(heads), strides_of(ld), fe::DataType_t::BFLOAT16);
        tensor->set_ragged_offset(offsets[which]);
        return tensor;
    }

    void give_out(const Tensor &tensor, int64_t uid, int64_t heads, int64_t ld,
                  lc_cudnn_offsets which)
    {
        tensor->set_output(true)
            .set_uid(uid)
            .set_dim(dims_of(heads))
            .set_stride(strides_of(ld))
            .set_data_type(fe::DataType_t::BFLOAT16)
            .set_ragged_offset(offsets[which]);
    }

    /* rows x heads floats, dense. */
    void shape_lse(fe::graph::Tensor_attributes &tensor)
    {
        tensor.set_dim({of.documents, of.heads, of.longest, 1})
            .set_stride({(int64_t)of.heads * of.longest, 1, of.heads, 1})
            .set_data_type(fe::DataType_t::FLOAT)
            .set_ragged_offset(offsets[LC_CUDNN_LSE]);
    }

    /* Keys j <= i of the document; with a window those with j > i - window. */
    template <class Attributes> void describe(Attributes &attributes)
    {
        attributes.set_attn_scale(of.scale)
            .set_padding_mask(true)
            .set_seq_len_q(lengths)
            .set_seq_len_kv(lengths)
            .set_diagonal_alignment(fe::DiagonalAlignment_t::TOP_LEFT)
            .set_diagonal_band_right_bound(0)
            .set_max_total_seq_len_q(of.rows)
            .set_max_total_seq_len_kv(of.rows);
        if (of.window > 0) {
            attributes.set_diagonal_band_left_bound(of.window);
        }
    }

    fe::graph::Graph &graph;
    const lc_cudnn_case &of;
    const bool has_order_flag; // where the flag's way is linear: not on Hopper
    Tensor lengths, offsets[LC_CUDNN_OFFSETS], q, k, v;
};

// ---- engines ----

/* "eng6_k14=4_k24=2", by the library's numbers of knobs. */
bool read_name(const char *name, int64_t *engine, Knobs *knobs)
{
    char *end = nullptr;
    if (strncmp(name, "eng", 3) != 0) {
        return false;
    }
    *engine = strtoll(name + 3, &end, 10);
    while (strncmp(end, "_k", 2) == 0) {
        const long number = strtol(end + 2, &end, 10);
        if (*end != '=') {
            return false;
        }
        const int64_t value = strtoll(end + 1, &end, 10);
        const fe::KnobType_t knob =
            fe::convert_from_backend_knob_type((cudnnBackendKnobType_t)number);
        if (knob == fe::KnobType_t::NOT_SET) {
            return false;
        }
        (*knobs)[knob] = value;
    }
    return *end == '\0';
}

/* One of the library's engines for a graph that is described. Nothing is timed. */
void choose_engine(fe::graph::Graph &graph, const lc_cudnn_case &of, int major, const char *wanted)
{
    int64_t engine = 0;
    Knobs knobs;
    if (wanted != nullptr) {
        if (!read_name(wanted, &engine, &knobs)) {
            throw Failure{std::string("\"") + wanted + "\" is no plan of cuDNN's"};
        }
        check(graph.create_execution_plan(engine, knobs), wanted);
    } else if (of.is_backward && of.is_ordered && major == HOPPER) {
        check(graph.create_execution_plan(ORDERED_ENGINE, ORDERED_KNOBS), "the ordered engine");
    } else {
        check(graph.create_execution_plans({fe::HeurMode_t::A}), "no engine");
    }
}

void build(lc_cudnn_plan &plan, const lc_cudnn_case &of, const lc_cudnn &library,
           const char *wanted)
{
    fe::graph::Graph &graph = plan.graph;
    Builder builder(graph, of, of.is_ordered && library.major != HOPPER);
    if (of.is_backward) {
        builder.backward();
    } else {
        builder.forward();
    }
    int64_t bytes = 0;
    check(graph.validate(), "the shape");
    check(graph.build_operation_graph(library.handle), "the graph");
    choose_engine(graph, of, library.major, wanted);
    check(graph.check_support(), "support");
    check(graph.build_plans(), "building");
    check(graph.get_workspace_size(bytes), "workspace");
    check(graph.get_plan_name(plan.name), "name");
    if (wanted != nullptr && plan.name != wanted) {
        throw Failure{"it became " + plan.name + " instead of " + wanted};
    }
    plan.workspace = (size_t)bytes;
    plan.is_backward = of.is_backward;
}
} // namespace

// ---- the interface ----

int lc_cudnn_version(char why[LC_CUDNN_TEXT_BYTES])
{
    void *const handle = lc_cuda_cudnn_library(why);
    int version = 0;
    if (handle == nullptr) {
        return 0;
    }
    fe::cudnn_dlhandle = handle;
    const bool is_well = guarded(why, [&version] {
        /* One for another CUDA would look for that one's libraries, and end the process. */
        size_t (*runtime_version)() = nullptr;
        void *const symbol = fe::detail::get_symbol("cudnnGetCudartVersion");
        memcpy(&runtime_version, &symbol, sizeof symbol);
        const size_t runtime = symbol != nullptr ? runtime_version() : 0;
        if (runtime / 1000 != CUDA_MAJOR) {
            throw Failure{"libcudnn.so.9 is built for CUDA " + std::to_string(runtime / 1000) +
                          ", not " + std::to_string(CUDA_MAJOR)};
        }
        version = (int)fe::detail::get_backend_version();
    });
    return is_well ? version : 0;
}

lc_cudnn *lc_cudnn_open(cudaStream_t stream, char why[LC_CUDNN_TEXT_BYTES])
{
    lc_cudnn *library = nullptr;
    const bool is_well = guarded(why, [&library, stream] {
        int device = 0;
        library = new lc_cudnn{nullptr, 0};
        if (cudaGetDevice(&device) != cudaSuccess ||
            cudaDeviceGetAttribute(&library->major, cudaDevAttrComputeCapabilityMajor, device) !=
                cudaSuccess) {
            throw Failure{"the GPU does not answer"};
        }
        check(fe::detail::create_handle(&library->handle), "cudnnCreate");
        check(fe::detail::set_stream(library->handle, stream), "cudnnSetStream");
    });
    if (!is_well && library != nullptr) {
        lc_cudnn_close(library);
        return nullptr;
    }
    return library;
}

void lc_cudnn_close(lc_cudnn *library)
{
    char ignored[LC_CUDNN_TEXT_BYTES];
    (void)guarded(ignored, [library] {
        if (library->handle != nullptr) {
            (void)fe::detail::destroy_handle(library->handle);
        }
    });
    delete library;
}

lc_cudnn_plan *lc_cudnn_plan_make(lc_cudnn *library, const lc_cudnn_case *of, const char *wanted,
                                  char why[LC_CUDNN_TEXT_BYTES])
{
    lc_cudnn_plan *plan = nullptr;
    const bool is_well = guarded(why, [&plan, library, of, wanted] {
        plan = new lc_cudnn_plan{};
        build(*plan, *of, *library, wanted);
    });
    if (!is_well && plan != nullptr) {
        lc_cudnn_plan_free(plan);
        return nullptr;
    }
    return plan;
}

void lc_cudnn_plan_free(lc_cudnn_plan *plan)
{
    char ignored[LC_CUDNN_TEXT_BYTES];
    (void)guarded(ignored, [plan] { delete plan; });
}

const char *lc_cudnn_plan_name(const lc_cudnn_plan *plan)
{
    return plan->name.c_str();
}

size_t lc_cudnn_plan_workspace(const lc_cudnn_plan *plan)
{
    return plan->workspace;
}

bool lc_cudnn_run(lc_cudnn *library, lc_cudnn_plan *plan, const lc_cudnn_tensors *tensors,
                  void *workspace, char why[LC_CUDNN_TEXT_BYTES])
{
    return guarded(why, [library, plan, tensors, workspace] {
        std::unordered_map<int64_t, void *> pointers = {
            {UID_Q, const_cast<void *>(tensors->q)},
            {UID_K, const_cast<void *>(tensors->k)},
            {UID_V, const_cast<void *>(tensors->v)},
            {UID_OUT, tensors->out},
            {UID_LSE, tensors->lse},
            {UID_LENGTHS, const_cast<int32_t *>(tensors->lengths)}};
        for (int i = 0; i < LC_CUDNN_OFFSETS; i++) {
            pointers[UID_OFFSETS + i] = const_cast<int64_t *>(tensors->offsets[i]);
        }
        if (plan->is_backward) {
            pointers[UID_DOUT] = const_cast<void *>(tensors->dout);
            pointers[UID_DQ] = tensors->dq;
            pointers[UID_DK] = tensors->dk;
            pointers[UID_DV] = tensors->dv;
        }
        check(plan->graph.execute(library->handle, pointers, workspace), "running");
    });
}
