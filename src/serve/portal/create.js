/*
 * The dialog that creates a job: a form, then a review, then the request. It is one dialog for the
 * life of the page, so that closing it, or an error, loses nothing of what was filled in.
 */
import { api } from "./api.js";
import { announce, h, newId, openDialog, setAttribute, setText } from "./dom.js";
import { fileField } from "./filefield.js";

/* A text field that is checked as it is left. parse(text) gives the value, undefined for none, or
 * throws with what is wrong. */
function textField({ name, label, hint, placeholder, parse, inputmode }) {
    const id = newId(name);
    const input = h("input", {
        id, name, type: "text", placeholder, inputmode, autocomplete: "off", spellcheck: "false",
        "aria-describedby": `${id}-hint ${id}-problem`,
    });
    const problem = h("p", { class: "problem", id: `${id}-problem` });
    const node = h("div", { class: "field" }, h("label", { for: id }, label), input,
        h("p", { class: "hint", id: `${id}-hint` }, hint), problem);

    function fail(text) {
        setText(problem, text);
        setAttribute(input, "aria-invalid", text === "" ? null : "true");
    }

    function check() {
        try {
            parse(input.value.trim());
            return "";
        } catch (error) {
            return error.message;
        }
    }

    input.addEventListener("blur", () => fail(check()));
    input.addEventListener("input", () => fail(""));
    return {
        node, fail, check, focus: () => input.focus(),
        get value() {
            return parse(input.value.trim());
        },
        set(text) {
            input.value = text;
            fail("");
        },
    };
}

/* Empty: undefined. */
function wholeNumber(low, high) {
    return (text) => {
        if (text === "") {
            return undefined;
        }
        if (!/^\d+$/.test(text) || Number(text) < low || Number(text) > high) {
            throw new Error(`A whole number from ${low} to ${high}, or nothing.`);
        }
        return Number(text);
    };
}

function positive(text) {
    if (text === "") {
        return undefined;
    }
    const value = Number(text.replace(",", "."));
    if (!(value > 0) || !Number.isFinite(value)) {
        throw new Error("A number above 0, or nothing.");
    }
    return value;
}

function suffixText(text) {
    if (!/^[A-Za-z0-9_-]{0,64}$/.test(text)) {
        throw new Error("Letters, digits, - and _, at most 64.");
    }
    return text === "" ? undefined : text;
}

function modelField() {
    const id = newId("model");
    const select = h("select",
        { id, name: "model", "aria-describedby": `${id}-hint ${id}-problem` });
    const problem = h("p", { class: "problem", id: `${id}-problem` });
    const node = h("div", { class: "field" }, h("label", { for: id }, "Model"), select,
        h("p", { class: "hint", id: `${id}-hint` },
            "A base model, or a fine-tuned one to train further."), problem);
    let extra = null;

    function fail(text) {
        setText(problem, text);
        setAttribute(select, "aria-invalid", text === "" ? null : "true");
    }

    function setModels(models) {
        const chosen = extra ?? select.value;
        const option = (name) => h("option", { value: name }, name);
        const usable = models.filter((model) => model.capabilities?.fine_tune !== false);
        const base = usable.filter((model) => !model.fine_tune).map((model) => model.id);
        const tuned = usable.filter((model) => model.fine_tune).map((model) => model.id);
        if (extra !== null && !base.includes(extra) && !tuned.includes(extra)) {
            tuned.unshift(extra); // a checkpoint: models do not list them
        }
        const groups = [["Base models", base], ["Fine-tuned", tuned]].filter(([, names]) =>
            names.length > 0);
        select.replaceChildren(...groups.map(([label, names]) =>
            h("optgroup", { label }, names.map(option))));
        if (groups.length === 0) {
            select.append(h("option", { value: "" }, "No models"));
        }
        if (base.includes(chosen) || tuned.includes(chosen)) {
            select.value = chosen;
        }
    }

    select.addEventListener("change", () => {
        extra = null;
        fail("");
    });
    return {
        node, fail, setModels, focus: () => select.focus(),
        check: () => (select.value === "" ? "Choose a model." : ""),
        get value() {
            return select.value;
        },
        choose(name) {
            extra = name;
        },
    };
}

let dialog = null; // made on first use

function make() {
    const title = newId("create");
    const fields = {
        model: modelField(),
        training_file: fileField({
            name: "training_file", label: "Training data",
            hint: "JSON lines, a conversation each, at least 10. Drop a file here or upload it.",
        }),
        validation_file: fileField({
            name: "validation_file", label: "Validation data", optional: true,
            hint: "Rows that are not trained on: they show whether the model learns or memorises.",
        }),
        suffix: textField({
            name: "suffix", label: "Suffix", placeholder: "none", parse: suffixText,
            hint: "Ends the new model\u2019s name.",
        }),
        seed: textField({
            name: "seed", label: "Seed", placeholder: "random", inputmode: "numeric",
            parse: wholeNumber(0, 2147483647), hint: "The same seed, the same model.",
        }),
        n_epochs: textField({
            name: "n_epochs", label: "Epochs", placeholder: "auto", inputmode: "numeric",
            parse: wholeNumber(1, 50), hint: "1 to 50; empty is auto.",
        }),
        batch_size: textField({
            name: "batch_size", label: "Batch size", placeholder: "auto", inputmode: "numeric",
            parse: wholeNumber(1, 256), hint: "1 to 256; empty is auto.",
        }),
        learning_rate_multiplier: textField({
            name: "learning_rate_multiplier", label: "Learning rate multiplier",
            placeholder: "auto", inputmode: "decimal", parse: positive,
            hint: "Often 0.1 to 2; empty is auto.",
        }),
    };
    const problem = h("div", { class: "callout bad", role: "alert", hidden: true });
    const form = h("div", { class: "sheet-body" },
        fields.model.node, fields.training_file.node, fields.validation_file.node,
        h("fieldset", null, h("legend", null, "Settings"),
            h("div", { class: "field-grid two" }, fields.suffix.node, fields.seed.node),
            h("div", { class: "field-grid three" }, fields.n_epochs.node, fields.batch_size.node,
                fields.learning_rate_multiplier.node)));
    const review = h("div", { class: "sheet-body", hidden: true });
    const heading = h("h2", { id: title, tabindex: "-1" }, "New fine-tuning job");
    const clear = h("button", { type: "button", class: "quiet", onclick: () => reset() },
        "Clear form");
    const back = h("button", { type: "button", hidden: true, onclick: () => showForm() }, "Back");
    const submit = h("button", { type: "submit", class: "primary" }, "Review");
    const node = h("dialog", { class: "sheet", "aria-labelledby": title },
        h("form", { novalidate: "", onsubmit: (event) => onSubmit(event) },
            h("header", { class: "sheet-head" }, heading,
                h("button", {
                    type: "button", class: "quiet icon-button", "aria-label": "Close",
                    onclick: () => node.close(),
                }, "\u00d7")),
            problem, form, review,
            h("footer", { class: "dialog-foot" }, clear, h("span", { class: "grow" }), back,
                submit)));
    node.dataset.keep = "";
    let body = null; // under review

    function showProblem(text) {
        problem.hidden = text === "";
        setText(problem, text);
    }

    function showForm() {
        body = null;
        form.hidden = clear.hidden = false;
        review.hidden = back.hidden = true;
        setText(heading, "New fine-tuning job");
        setText(submit, "Review");
    }

    function reset() {
        showProblem("");
        for (const name of ["training_file", "validation_file"]) {
            fields[name].choose("");
            fields[name].fail("");
        }
        for (const name of ["suffix", "seed", "n_epochs", "batch_size",
            "learning_rate_multiplier"]) {
            fields[name].set("");
        }
        showForm();
    }

    /* Says what is wrong at each field; true when nothing is. */
    function checkAll() {
        let first = null;
        for (const field of Object.values(fields)) {
            const wrong = field.check();
            field.fail(wrong);
            first ??= wrong === "" ? null : field;
        }
        first?.focus();
        return first === null;
    }

    function requestBody() {
        const hyperparameters = {
            n_epochs: fields.n_epochs.value ?? "auto",
            batch_size: fields.batch_size.value ?? "auto",
            learning_rate_multiplier: fields.learning_rate_multiplier.value ?? "auto",
        };
        return {
            model: fields.model.value,
            training_file: fields.training_file.file.id,
            validation_file: fields.validation_file.file?.id,
            suffix: fields.suffix.value,
            seed: fields.seed.value,
            method: { type: "supervised", supervised: { hyperparameters } },
        };
    }

    function showReview() {
        const settings = body.method.supervised.hyperparameters;
        const rows = [
            ["Model", body.model], ["Method", "Supervised fine-tuning"],
            ["Training data", fields.training_file.file.filename],
            ["Validation data", fields.validation_file.file?.filename ?? "None"],
            ["Suffix", body.suffix ?? "None"], ["Seed", body.seed ?? "Random"],
            ["Epochs", settings.n_epochs], ["Batch size", settings.batch_size],
            ["Learning rate multiplier", settings.learning_rate_multiplier],
        ];
        review.replaceChildren(
            h("dl", { class: "facts" }, rows.map(([name, value]) =>
                [h("dt", null, name), h("dd", null, String(value))])),
            h("details", null, h("summary", null, "The request"),
                h("pre", null, JSON.stringify(body, null, 2))));
        form.hidden = clear.hidden = true;
        review.hidden = back.hidden = false;
        setText(heading, "Review");
        setText(submit, "Start job");
        heading.focus();
    }

    async function create() {
        submit.disabled = true;
        try {
            const job = await api.createJob(body);
            reset();
            node.close();
            announce("Job created");
            location.hash = `#/jobs/${encodeURIComponent(job.id)}`;
        } catch (error) {
            showForm();
            showProblem(error.message);
            const field = fields[String(error.param ?? "").split(".").pop()];
            field?.fail(error.message);
            field?.focus();
        } finally {
            submit.disabled = false;
        }
    }

    function onSubmit(event) {
        event.preventDefault();
        showProblem("");
        if (body !== null) {
            create();
        } else if (checkAll()) {
            body = requestBody();
            showReview();
        }
    }

    async function load() {
        try {
            const [models, files] = await Promise.all([
                api.models(), api.files({ purpose: "fine-tune", limit: 1000 })]);
            fields.model.setModels(models.data);
            fields.training_file.setFiles(files.data);
            fields.validation_file.setFiles(files.data);
        } catch (error) {
            showProblem(error.message);
        }
    }

    return { node, fields, load, showForm };
}

/* preset: { model } chosen in the form, or nothing. */
export function openCreate(preset = {}) {
    dialog ??= make();
    dialog.showForm();
    if (preset.model) {
        dialog.fields.model.choose(preset.model);
    }
    openDialog(dialog.node);
    dialog.load();
}
