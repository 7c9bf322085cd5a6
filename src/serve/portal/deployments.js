/*
 * Deployments: models that answer under a name. The list, the dialog that makes one, and the tuned
 * models that there are.
 */
import { api, poll } from "./api.js";
import {
    announce, badge, confirmLoss, copyable, h, newId, openDialog, reconcile, saidIn, setBadge,
    setText, setTime, timeNode,
} from "./dom.js";

const READY = ["succeeded", "ready", "running"];

/* The name it is called by. */
export function deploymentName(deployment) {
    return deployment.name ?? deployment.id;
}

export function isReady(deployment) {
    return deployment.status === undefined || READY.includes(deployment.status.toLowerCase());
}

let afterDeploy = () => {};

/* A deployment's name made of a model's: its suffix, or the base model's name. */
function nameFor(model) {
    const [, base, suffix] = /^(.*?)(?:\.ft-[0-9a-f]+-?(.*?))?(?::.*)?$/.exec(model);
    return (suffix || base).replace(/[^A-Za-z0-9_.-]+/g, "-");
}

/* Deploys `model` (null: one of the list) under a name that is asked for. */
export async function openDeploy(model = null) {
    const id = newId("deploy");
    const problem = h("p", { class: "problem", role: "alert" });
    const select = h("select", { id: `${id}-model`, name: "model" });
    const input = h("input", {
        id: `${id}-name`, name: "name", type: "text", autocomplete: "off", spellcheck: "false",
        maxlength: "64", required: true, "aria-describedby": `${id}-hint`,
    });
    const go = h("button", { type: "submit", class: "primary" }, "Deploy");
    let taken = new Map(), replaced = null; // models by deployment; the name that may be replaced

    async function send() {
        const name = input.value.trim();
        if (taken.has(name) && replaced !== name) {
            replaced = name;
            setText(problem, `${name} is deployed already, with the model ${taken.get(name)}. ` +
                "From now on it would answer with this model.");
            setText(go, "Replace it");
            return;
        }
        await api.deploy({ model: select.value, name });
        dialog.close();
        announce(`${name} deployed`);
        afterDeploy();
        if (!location.hash.startsWith("#/playground")) {
            location.hash = "#/deployments";
        }
    }

    const dialog = h("dialog", { class: "ask", "aria-labelledby": id }, h("form", {
        onsubmit: async (event) => {
            event.preventDefault();
            go.disabled = true;
            setText(problem, "");
            try {
                await send();
            } catch (error) {
                setText(problem, error.message);
            } finally {
                go.disabled = false;
            }
        },
    },
    h("h2", { id }, "Deploy a model"),
    h("div", { class: "field" }, h("label", { for: `${id}-model` }, "Model"), select),
    h("div", { class: "field" }, h("label", { for: `${id}-name` }, "Deployment name"), input,
        h("p", { class: "hint", id: `${id}-hint` }, "What chat requests name as their model.")),
    problem,
    h("div", { class: "dialog-foot" },
        h("button", { type: "button", onclick: () => dialog.close() }, "Not now"), go)));

    function suggest() {
        input.value = nameFor(select.value);
        select.title = select.value;
    }

    input.addEventListener("input", () => setText(go, "Deploy"));
    select.addEventListener("change", suggest);
    openDialog(dialog);
    try {
        const [models, deployments] = await Promise.all([
            model === null ? api.models() : { data: [{ id: model }] }, api.deployments()]);
        taken = new Map(deployments.data.map((one) => [deploymentName(one), one.model]));
        select.append(...models.data.filter((one) => one.capabilities?.inference !== false)
            .map((one) => h("option", { value: one.id }, one.id)));
        suggest();
        (model === null ? select : input).focus();
    } catch (error) {
        setText(problem, error.message);
    }
}

/* What is to be done when a deployment has been made. */
export function onDeploy(task) {
    afterDeploy = task;
}

function makeRow(deployment, done) {
    const name = deploymentName(deployment);
    const parts = {
        name: h("span", { class: "row-title" }), model: h("td", { class: "wide-only" }, h("code")),
        more: h("code", { class: "row-sub narrow-only" }), status: badge(), created: timeNode(),
    };
    const row = h("tr", null,
        h("th", { scope: "row" }, parts.name, parts.more), parts.model, h("td", null, parts.status),
        h("td", { class: "wide-only nowrap" }, parts.created),
        h("td", { class: "row-actions" },
            h("a", {
                class: "button small-button", "aria-label": `Chat with ${name}`,
                href: `#/playground/${encodeURIComponent(name)}`,
            }, "Chat"),
            h("button", {
                type: "button", class: "small-button danger-quiet", "aria-label": `Delete ${name}`,
                onclick: () => confirmLoss({
                    title: `Delete the deployment ${name}?`,
                    text: "Chat requests that name it will be answered with an error. The model " +
                        "itself stays and can be deployed again.",
                    verb: "Delete the deployment",
                    task: async () => {
                        await api.deleteDeployment(deployment.id ?? name);
                        announce(`${name} deleted`);
                        done();
                    },
                }),
            }, "Delete")));
    row.parts = parts;
    return row;
}

function updateRow(row, deployment) {
    const { parts } = row;
    setText(parts.name, deploymentName(deployment));
    setText(parts.model.firstChild, deployment.model);
    setText(parts.more, deployment.model);
    setBadge(parts.status, deployment.status ?? "ready");
    setTime(parts.created, deployment.created_at);
}

function makeModel(model, done) {
    const created = timeNode();
    setTime(created, model.created);
    return h("tr", null,
        h("th", { scope: "row" }, copyable(model.id)),
        h("td", { class: "wide-only" }, h("code", null, model.model)),
        h("td", { class: "wide-only nowrap" }, created),
        h("td", { class: "row-actions" },
            h("button", {
                type: "button", class: "small-button", "aria-label": `Deploy ${model.id}`,
                onclick: () => openDeploy(model.id),
            }, "Deploy"),
            h("button", {
                type: "button", class: "small-button danger-quiet",
                "aria-label": `Delete ${model.id}`,
                onclick: () => confirmLoss({
                    title: "Delete the model?",
                    text: `${model.id} can no longer be deployed, called or trained further. Its ` +
                        "job stays.",
                    verb: "Delete the model",
                    task: async () => {
                        await api.deleteModel(model.id);
                        announce(`${model.id} deleted`);
                        done();
                    },
                }),
            }, "Delete")));
}

/* Tuned models outlive their jobs: here they can be deleted. */
function modelPanel(done) {
    const body = h("tbody");
    const node = h("section",
        { class: "panel table-panel", hidden: true, "aria-labelledby": "h-models" },
        h("h2", { id: "h-models" }, "Fine-tuned models"),
        h("table", null, h("caption", { class: "sr" }, "Fine-tuned models"),
            h("thead", null, h("tr", null, h("th", { scope: "col" }, "Model"),
                h("th", { scope: "col", class: "wide-only" }, "Base model"),
                h("th", { scope: "col", class: "wide-only" }, "Created"),
                h("th", { scope: "col" }, h("span", { class: "sr" }, "Actions")))), body));
    return {
        node,
        update(models) {
            const tuned = models.filter((one) => one.fine_tune);
            node.hidden = tuned.length === 0;
            reconcile(body, tuned, (one) => one.id, (one) => makeModel(one, done));
        },
    };
}

export function deploymentsPage(main) {
    const body = h("tbody");
    const table = h("div", { class: "panel table-panel", hidden: true }, h("table", null,
        h("caption", { class: "sr" }, "Deployments"),
        h("thead", null, h("tr", null, h("th", { scope: "col" }, "Deployment"),
            h("th", { scope: "col", class: "wide-only" }, "Model"),
                h("th", { scope: "col" }, "Status"),
            h("th", { scope: "col", class: "wide-only" }, "Created"),
            h("th", { scope: "col" }, h("span", { class: "sr" }, "Actions")))), body));
    const loading = h("p", { class: "muted" }, "Loading\u2026");
    const empty = h("div", { class: "empty", hidden: true }, h("h2", null, "Nothing is deployed"),
        h("p", null, "A deployed model, base or tuned, answers chat requests under its name."));
    const models = modelPanel(() => poller.now());
    main.replaceChildren(
        h("div", { class: "page-head" }, h("h1", { tabindex: "-1" }, "Deployments"),
            h("button", { type: "button", class: "primary", onclick: () => openDeploy() },
                "Deploy a model")),
        loading, empty, table, models.node);
    const poller = poll(async (abort) => {
        const [{ data }, all] = await Promise.all([api.deployments(abort), api.models(abort)]);
        models.update(all.data);
        loading.hidden = true;
        empty.hidden = data.length > 0;
        table.hidden = data.length === 0;
        reconcile(body, data, (one) => one.id ?? one.name,
            (one) => makeRow(one, () => poller.now()), updateRow);
        return data.every(isReady) ? 10000 : 1500;
    }, saidIn(loading));
    onDeploy(() => poller.now());
    return () => {
        onDeploy(() => {});
        poller.stop();
    };
}
