/*
 * The adapters that rows choose among. Each has device memory of its own, as much as its ranks and
 * targets need, from when it is loaded until it is dropped; the base's matrices have no borders
 * then.
 */
#include <string.h>

#include "lorac/mem.h"
#include "model/adapter_layout.h"
#include "model/passes.h"

#define BUFFER_ALIGNMENT 256
#define ROW_ALIGNMENT    64 /* elements */

static int64_t round_up(int64_t count, int64_t multiple)
{
    return (count + multiple - 1) / multiple * multiple;
}

static lc_code check_adapter(const lc_model *model, int32_t place, const lc_adapter_spec *spec,
                             lc_err *err)
{
    if (place < 0 || place >= model->spec.copies) {
        return lc_fail(err, LC_ERR_INTERNAL, "adapter %d of a model with room for %d", place,
                       model->spec.copies);
    }
    for (int32_t layer = 0; layer < model->config.layers; layer++) {
        for (int kind = 0; kind < LC_MODULE_COUNT; kind++) {
            const int32_t rank = spec->slots[layer][kind].rank,
                          most = model->spec.slots[layer][kind].rank;
            if (rank > most) {
                char name[LC_MODULE_NAME_BYTES];
                lc_module_name(layer, (lc_module_kind)kind, name);
                return lc_fail_param(err, LC_ERR_UNSUPPORTED, "r",
                                     "%s has rank %d, the model was opened for adapters of rank "
                                     "%d at most",
                                     name, rank, most);
            }
        }
    }
    return LC_OK;
}

/* Sets the shapes of all groups, and their addresses in `block` unless that is NULL; the bytes of
 * all. */
static int64_t carve(const lc_model *model, const lc_adapter_spec *spec, char *block,
                     lc_adapter_group *groups)
{
    const int64_t size = (int64_t)lc_dtype_bytes(model->dtype);
    const int32_t strip = model->device->memory->strip;
    int64_t bytes = 0;
    for (int32_t i = 0; i < model->config.layers * LC_GROUP_COUNT; i++) {
        const int32_t layer = i / LC_GROUP_COUNT;
        const lc_group_kind kind = (lc_group_kind)(i % LC_GROUP_COUNT);
        const lc_group_shape shape = lc_group_shape_of(&model->config, spec, layer, kind);
        lc_adapter_group *group = &groups[i];
        group->parts = lc_group_parts(&model->config, spec, layer, kind);
        group->a = (lc_mat){.rows = shape.tail,
                            .cols = shape.in,
                            .ld = round_up(shape.in, ROW_ALIGNMENT),
                            .dtype = model->dtype};
        group->sb = (lc_mat){.rows = shape.out,
                             .cols = shape.tail,
                             .ld = round_up(shape.tail, ROW_ALIGNMENT),
                             .dtype = model->dtype};
        if (lc_group_fits_strips(&model->config, spec, layer, kind, strip)) {
            group->a.strip = group->sb.strip = strip;
        }
        lc_mat *const both[] = {&group->a, &group->sb};
        for (int m = 0; m < 2; m++) {
            both[m]->data = block != NULL ? block + bytes : NULL;
            bytes += round_up(both[m]->rows * both[m]->ld * size, BUFFER_ALIGNMENT);
        }
    }
    return bytes;
}

/* rows x cols masters times `scale` into a window. scratch: as many floats. */
static lc_code put(const lc_model *model, const float *from, float scale, lc_mat to, float *scratch,
                   lc_err *err)
{
    for (int64_t i = 0; i < to.rows * to.cols; i++) {
        scratch[i] = from[i] * scale;
    }
    return model->device->ops->upload_mat(model->device, to,
                                          lc_mat_f32(scratch, to.rows, to.cols, to.cols), err);
}

static lc_code put_group(const lc_model *model, const lc_adapter_spec *spec, const float *master,
                         int32_t layer, const lc_adapter_group *group, float *scratch, lc_err *err)
{
    for (int32_t i = 0; i < group->parts.count; i++) {
        const lc_lora_part *part = &group->parts.part[i];
        const lc_lora_slot *slot = &spec->slots[layer][part->module];
        LC_TRY(put(model, master + slot->a_offset, 1.0f,
                   lc_mat_view(group->a, part->slot, 0, part->width, group->a.cols), scratch, err));
        LC_TRY(put(model, master + slot->b_offset, slot->scale,
                   lc_mat_view(group->sb, part->row, part->slot, part->out, part->width), scratch,
                   err));
    }
    return LC_OK;
}

static lc_code put_all(const lc_model *model, const lc_adapter_spec *spec, const float *master,
                       const lc_adapter_place *to, lc_err *err)
{
    const lc_model_config *c = &model->config;
    int64_t largest = 0;
    void *scratch = NULL;
    lc_code code = LC_OK;
    for (int32_t i = 0; i < c->layers * LC_MODULE_COUNT; i++) {
        const lc_module_kind kind = (lc_module_kind)(i % LC_MODULE_COUNT);
        const int64_t in = lc_module_in(c, kind), out = lc_module_out(c, kind),
                      count = spec->slots[i / LC_MODULE_COUNT][kind].r16 * (in > out ? in : out);
        largest = count > largest ? count : largest;
    }
    LC_TRY(lc_new(&scratch, (size_t)largest, sizeof(float), "an adapter's matrix", err));
    for (int32_t i = 0; i < c->layers * LC_GROUP_COUNT && code == LC_OK; i++) {
        code = put_group(model, spec, master, i / LC_GROUP_COUNT, &to->groups[i], scratch, err);
    }
    lc_free(scratch);
    return code;
}

static void close_place(const lc_model *model, lc_adapter_place *place)
{
    if (place->block != NULL) {
        lc_err ignored = {.code = LC_OK};                         /* the next pass tells it, too */
        (void)!model->device->ops->sync(model->device, &ignored); /* queued passes may read it */
        model->device->ops->free(model->device, place->block);
    }
    lc_free(place->groups);
    *place = (lc_adapter_place){.groups = NULL};
}

lc_code lc_model_load_adapter(lc_model *model, int32_t place, const lc_adapter_spec *spec,
                              const float *master, lc_err *err)
{
    lc_code code;
    void *memory = NULL;
    lc_adapter_place made = {.groups = NULL};
    LC_TRY(check_adapter(model, place, spec, err));
    LC_TRY(lc_new(&memory, (size_t)model->config.layers * LC_GROUP_COUNT, sizeof *made.groups,
                  "an adapter", err));
    made.groups = memory;
    made.bytes = carve(model, spec, NULL, made.groups);
    LC_TRY_GOTO(model->device->ops->alloc(model->device, (size_t)made.bytes, &made.block, err));
    (void)carve(model, spec, made.block, made.groups);
    LC_TRY_GOTO(put_all(model, spec, master, &made, err));
    close_place(model, &model->places[place]);
    model->places[place] = made;
    /* What was recorded reads other addresses. */
    model->device->ops->set_workspace(model->device, model->workspace, model->workspace_bytes);
    return LC_OK;
fail:
    close_place(model, &made);
    return code;
}

void lc_model_drop_adapter(lc_model *model, int32_t place)
{
    if (place >= 0 && place < LC_MAX_ADAPTER_COPIES) {
        close_place(model, &model->places[place]);
    }
}
