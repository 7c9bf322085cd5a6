/*
 * The playground: one prompt, two deployments side by side, answers as they are made. What was said
 * and set stays while the page is open.
 */
import { api, poll, serverEvents } from "./api.js";
import { deploymentName, onDeploy, openDeploy } from "./deployments.js";
import { announce, duration, h, newId, setAttribute, setText, toast } from "./dom.js";

/* The answer to what a pane's turns say, streamed into `turn`. settings: members of the request. */
async function answer(pane, turn, settings, abort, show) {
    const messages = settings.system === "" ? [] : [{ role: "system", content: settings.system }];
    for (const one of pane.turns) {
        if (one === turn) {
            break;
        }
        if (one.text !== "") {
            messages.push({ role: one.role, content: one.text });
        }
    }
    const began = performance.now();
    const response = await api.chat({
        model: pane.target, messages, stream: true, stream_options: { include_usage: true },
        ...settings.request,
    }, abort);
    for await (const chunk of serverEvents(response)) {
        const choice = chunk.choices?.[0];
        if (choice?.delta?.content) {
            turn.first ??= performance.now() - began;
            turn.text += choice.delta.content;
            show();
        }
        turn.finish = choice?.finish_reason ?? turn.finish;
        turn.tokens = chunk.usage?.completion_tokens ?? turn.tokens;
    }
    turn.seconds = (performance.now() - began) / 1000;
}

function noteOf(turn) {
    const parts = [];
    if (turn.isStopped) {
        parts.push("stopped");
    } else if (turn.finish === "length") {
        parts.push("cut at the token limit");
    }
    if (turn.tokens && turn.seconds) {
        parts.push(`${turn.tokens} tokens`, `${(turn.tokens / turn.seconds).toFixed(0)} a second`);
    } else if (turn.seconds) {
        parts.push(duration(turn.seconds));
    }
    return parts.join(" \u00b7 ");
}

function turnNode(turn) {
    const text = h("div", { class: "turn-text" });
    const note = h("div", { class: "turn-note" });
    const node = h("div", { class: `turn ${turn.role}` },
        h("span", { class: "sr" }, turn.role === "user" ? "You: " : "Answer: "), text, note);
    let shown = null; // the text's node: it grows
    return {
        node,
        show() {
            shown ??= text.appendChild(document.createTextNode(""));
            if (shown.data !== turn.text) {
                shown.data = turn.text;
            }
            node.classList.toggle("is-waiting", turn.isRunning && turn.text === "");
            node.classList.toggle("is-running", turn.isRunning);
            node.classList.toggle("is-error", turn.error !== null);
            setText(note, turn.error ?? (turn.isRunning ? "" : noteOf(turn)));
        },
    };
}

function makePane(label) {
    const id = newId("target");
    const select = h("select", { id });
    const hint = h("p", { class: "hint" });
    const log = h("div", {
        class: "turns", tabindex: "0", role: "log", "aria-live": "off",
            "aria-label": `${label}: conversation`,
    });
    const empty = h("p", { class: "muted turns-empty" }, "Answers appear here.");
    const node = h("section", { class: "panel pane", "aria-label": label },
        h("div", { class: "pane-head" }, h("label", { for: id }, label), select), hint, log);
    log.append(empty);
    const pane = { node, select, turns: [], target: "", wasChosen: false, nodes: new Map() };

    pane.add = (turn) => {
        empty.remove();
        const made = turnNode(turn);
        pane.turns.push(turn);
        pane.nodes.set(turn, made);
        log.append(made.node);
        made.show();
        log.scrollTop = log.scrollHeight;
    };
    pane.show = (turn) => {
        const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
        pane.nodes.get(turn).show();
        if (isAtEnd) {
            log.scrollTop = log.scrollHeight;
        }
    };
    pane.clear = () => {
        pane.turns = [];
        pane.nodes.clear();
        log.replaceChildren(empty);
    };
    pane.setTargets = (deployments, wanted) => {
        const names = deployments.map(deploymentName);
        const isThere = (name) => name === "" || names.includes(name);
        const chosen = [wanted, pane.target].find(isThere) ?? "";
        const list = [["", names.length === 0 ? "Nothing is deployed" : "None"],
            ...deployments.map((one) => [deploymentName(one), deploymentName(one)])];
        const now = JSON.stringify(list);
        if (select.dataset.list !== now) {
            select.dataset.list = now;
            select.replaceChildren(...list.map(([value, text]) => h("option", { value }, text)));
        }
        select.value = chosen;
        pane.target = chosen;
        const one = deployments.find((deployment) => deploymentName(deployment) === chosen);
        setText(hint, one === undefined ? "" : one.model);
    };
    return pane;
}

function slider(label, name, { min, max, step, value }) {
    const id = newId(name);
    const out = h("output", { for: id }, String(value));
    const input = h("input", { id, type: "range", min, max, step, value });
    input.addEventListener("input", () => setText(out, input.value));
    return {
        node: h("div", { class: "field" },
            h("label", { for: id, class: "with-output" }, label, out), input),
        get value() {
            return Number(input.value);
        },
    };
}

function make() {
    const panes = [makePane("Left"), makePane("Right")];
    const system = h("textarea", { id: newId("system"), rows: "3", placeholder: "none" });
    const temperature = slider("Temperature", "temperature",
        { min: 0, max: 2, step: 0.1, value: 0.7 });
    const tokens = slider("Most tokens", "tokens", { min: 16, max: 1024, step: 16, value: 256 });
    const prompt = h("textarea", {
        id: newId("prompt"), rows: "2", placeholder: "Say something to both",
            "aria-label": "Message",
    });
    const send = h("button", { type: "submit", class: "primary" }, "Send");
    const stop = h("button", { type: "button", disabled: true }, "Stop");
    const clear = h("button", { type: "button", class: "quiet" }, "Clear");
    const problem = h("p", { class: "problem", role: "alert" });
    const composer = h("form", { class: "composer panel" }, prompt,
        h("div", { class: "composer-foot" },
            h("span", { class: "hint grow" }, "Enter sends, Shift and Enter starts a line."),
                clear, stop, send),
        problem);
    const node = h("div", { class: "playground" },
        h("div", { class: "panes" }, panes.map((pane) => pane.node)),
        h("details", { class: "panel chat-settings", open: window.innerWidth > 900 },
            h("summary", null, "Settings"),
            h("div", { class: "field" }, h("label", { for: system.id }, "System prompt"), system),
            temperature.node, tokens.node),
        composer);
    let abort = null, deployments = [];

    function showState() {
        send.disabled = abort !== null;
        stop.disabled = abort === null;
        setAttribute(node, "aria-busy", abort === null ? null : "true");
    }

    async function run(pane, settings) {
        const turn = {
            role: "assistant", text: "", error: null, isRunning: true, isStopped: false,
                finish: null,
        };
        pane.add(turn);
        try {
            await answer(pane, turn, settings, abort.signal, () => pane.show(turn));
        } catch (error) {
            if (error.name === "AbortError") {
                turn.isStopped = true;
            } else {
                turn.error = error.message;
            }
        }
        turn.isRunning = false;
        pane.show(turn);
        announce(`${pane.target}: ${turn.error ?? turn.text}`);
    }

    async function sendAll() {
        const text = prompt.value.trim();
        const active = panes.filter((pane) => pane.target !== "");
        setText(problem, active.length === 0 ? "Choose a deployment to talk to." : "");
        if (text === "" || active.length === 0 || abort !== null) {
            return;
        }
        prompt.value = "";
        abort = new AbortController();
        showState();
        const settings = {
            system: system.value.trim(),
            request: { temperature: temperature.value, max_tokens: tokens.value },
        };
        await Promise.all(active.map((pane) => {
            pane.add({ role: "user", text, error: null, isRunning: false });
            return run(pane, settings);
        }));
        abort = null;
        if (prompt.value === "" && active.every((pane) => pane.turns.at(-1).error !== null)) {
            prompt.value = text; // nothing came of it: it need not be typed again
        }
        showState();
    }

    composer.addEventListener("submit", (event) => {
        event.preventDefault();
        sendAll();
    });
    prompt.addEventListener("keydown", (event) => {
        if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
            event.preventDefault();
            sendAll();
        }
    });
    stop.addEventListener("click", () => {
        abort?.abort();
        prompt.focus();
    });
    clear.addEventListener("click", () => {
        abort?.abort();
        panes.forEach((pane) => pane.clear());
        prompt.focus();
    });
    for (const pane of panes) {
        pane.select.addEventListener("change", () => {
            pane.wasChosen = true;
            pane.setTargets(deployments, pane.select.value);
        });
    }

    /* Left takes a base model, right a tuned one, until somebody chooses or talks. */
    function setDeployments(list, bases, wanted) {
        deployments = list;
        const one = list.find((deployment) => deploymentName(deployment) === wanted);
        const base = list.find((deployment) => bases.has(deployment.model));
        const tuned = list.find((deployment) => !bases.has(deployment.model)) ?? base;
        const defaults = [base, tuned];
        if (one !== undefined) {
            const side = bases.has(one.model) ? 0 : 1;
            defaults[side] = one;
            panes[side].wasChosen = false;
        }
        panes.forEach((pane, i) => {
            const isFree = !pane.wasChosen && (pane.turns.length === 0 || defaults[i] === one);
            pane.setTargets(list, isFree && defaults[i] ? deploymentName(defaults[i]) : undefined);
        });
        setText(problem, "");
    }

    showState();
    return { node, setDeployments };
}

let playground = null; // made on first use

/* target: a deployment's name to begin with, or "". */
export function playgroundPage(main, target) {
    playground ??= make();
    main.replaceChildren(
        h("div", { class: "page-head" }, h("h1", { tabindex: "-1" }, "Playground"),
            h("button", { type: "button", onclick: () => openDeploy() }, "Deploy a model")),
        playground.node);
    let wanted = target === "" ? null : target;
    const poller = poll(async (abort) => {
        const [deployments, models] = await Promise.all([api.deployments(abort),
            api.models(abort)]);
        const bases = new Set(models.data.filter((model) => !model.fine_tune)
            .map((model) => model.id));
        playground.setDeployments(deployments.data, bases, wanted);
        wanted = null;
        return 15000;
    }, (error) => toast(error.message, "error"));
    onDeploy(() => poller.now());
    return () => {
        onDeploy(() => {});
        poller.stop();
    };
}
