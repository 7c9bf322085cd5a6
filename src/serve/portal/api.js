/*
 * The API behind the page: requests with their key, errors in the API's words, server-sent events,
 * uploads with progress, and polling that minds who is looking.
 */
const KEY_NAME = "lorac-api-key";
const API_VERSION = "2024-10-21"; // of the classic paths
const MOST_BACKOFF_MS = 30000;

/* Events of the page as a whole: "unauthorized", "key", "connection" (detail: text, "": fine). */
export const signals = new EventTarget();

function signal(name, detail) {
    signals.dispatchEvent(new CustomEvent(name, { detail }));
}

export class ApiError extends Error {
    constructor(status, body, retryAfterMs) {
        const error = body?.error ?? {};
        super(error.message || `The server answered ${status}.`);
        this.status = status;
        this.code = error.code ?? null;
        this.param = error.param ?? null;
        this.retryAfterMs = retryAfterMs;
    }
}

// ---- the key ----

let key = null;
try {
    key = sessionStorage.getItem(KEY_NAME);
} catch {
    // no storage: the key lives as long as the page
}

export function hasKey() {
    return key !== null;
}

export function setKey(value) {
    key = value || null;
    try {
        if (key === null) {
            sessionStorage.removeItem(KEY_NAME);
        } else {
            sessionStorage.setItem(KEY_NAME, key);
        }
    } catch {
        // as above
    }
    signal("key");
}

// ---- requests ----

function urlOf(path, query) {
    const url = new URL(path, document.baseURI); // relative: it works behind a proxy's prefix too
    url.hash = "";
    for (const [name, value] of Object.entries(query ?? {})) {
        if (value !== undefined && value !== null) {
            url.searchParams.set(name, value);
        }
    }
    return url;
}

async function failureOf(response) {
    let body = null;
    try {
        body = await response.json();
    } catch {
        // not from the API: the status says what there is to say
    }
    const wait = Number(response.headers.get("retry-after-ms"));
    if (response.status === 401) {
        signal("unauthorized");
    }
    return new ApiError(response.status, body, wait > 0 ? wait : 0);
}

async function request(method, path, { query, json, signal: abort } = {}) {
    const headers = {};
    if (key !== null) {
        headers["api-key"] = key;
    }
    if (json !== undefined) {
        headers["Content-Type"] = "application/json";
    }
    const response = await fetch(urlOf(path, query), {
        method,
        headers,
        body: json === undefined ? undefined : JSON.stringify(json),
        signal: abort,
        credentials: "omit",
    });
    if (!response.ok) {
        throw await failureOf(response);
    }
    return response;
}

async function ask(method, path, options) {
    const response = await request(method, path, options);
    return response.status === 204 ? null : response.json();
}

const V1 = "openai/v1";
const jobPath = (id) => `${V1}/fine_tuning/jobs/${encodeURIComponent(id)}`;
const filePath = (id) => `${V1}/files/${encodeURIComponent(id)}`;
const classic = { "api-version": API_VERSION };

export const api = {
    models: (signal) => ask("GET", `${V1}/models`, { signal }),
    deleteModel: (id) => ask("DELETE", `${V1}/models/${encodeURIComponent(id)}`),

    jobs: (query, signal) => ask("GET", `${V1}/fine_tuning/jobs`, { query, signal }),
    createJob: (json) => ask("POST", `${V1}/fine_tuning/jobs`, { json }),
    job: (id, signal) => ask("GET", jobPath(id), { signal }),
    jobAction: (id, verb) => ask("POST", `${jobPath(id)}/${verb}`),
    // Only the classic family has it.
    deleteJob: (id) => ask("DELETE", `openai/fine_tuning/jobs/${encodeURIComponent(id)}`,
        { query: classic }),
    events: (id, query, signal) => ask("GET", `${jobPath(id)}/events`, { query, signal }),
    checkpoints: (id, signal) => ask("GET", `${jobPath(id)}/checkpoints`,
        { query: { limit: 100 }, signal }),

    files: (query, signal) => ask("GET", `${V1}/files`, { query, signal }),
    file: (id, signal) => ask("GET", filePath(id), { signal }),
    fileContent: (id, signal) => request("GET", `${filePath(id)}/content`, { signal }),
    deleteFile: (id) => ask("DELETE", filePath(id)),

    deployments: (signal) => ask("GET", "openai/deployments", { query: classic, signal }),
    deploy: (json) => ask("POST", "openai/deployments", { query: classic, json }),
    deleteDeployment: (id) => ask("DELETE", `openai/deployments/${encodeURIComponent(id)}`,
        { query: classic }),

    chat: (json, signal) => request("POST", `${V1}/chat/completions`, { json, signal }),
};

/* Uploads with onProgress(share of the bytes, 0 to 1). abort: an AbortSignal. */
export function upload(file, purpose, onProgress, abort) {
    return new Promise((resolve, reject) => {
        const form = new FormData();
        form.append("purpose", purpose);
        form.append("file", file, file.name);
        const xhr = new XMLHttpRequest(); // fetch tells nothing of what has been sent
        xhr.open("POST", urlOf(`${V1}/files`));
        if (key !== null) {
            xhr.setRequestHeader("api-key", key);
        }
        xhr.responseType = "json";
        xhr.upload.addEventListener("progress", (event) => {
            if (event.lengthComputable) {
                onProgress(event.loaded / event.total);
            }
        });
        xhr.addEventListener("load", () => {
            if (xhr.status >= 200 && xhr.status < 300) {
                resolve(xhr.response);
                return;
            }
            if (xhr.status === 401) {
                signal("unauthorized");
            }
            reject(new ApiError(xhr.status, xhr.response, 0));
        });
        xhr.addEventListener("error", () => reject(new Error("The connection broke off.")));
        xhr.addEventListener("abort", () => reject(new DOMException("stopped", "AbortError")));
        abort?.addEventListener("abort", () => xhr.abort());
        xhr.send(form);
    });
}

/* The JSON of each server-sent event, up to [DONE]. A body that ends before it is an error. */
export async function* serverEvents(response) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let pending = "";
    for (;;) {
        const { value, done } = await reader.read();
        if (done) {
            throw new Error("The answer broke off.");
        }
        pending += value.replaceAll("\r", "");
        const parts = pending.split("\n\n");
        pending = parts.pop();
        for (const part of parts) {
            const data = part.split("\n").filter((line) => line.startsWith("data:"))
                .map((line) => line.slice(5).trimStart()).join("\n");
            if (data === "[DONE]") {
                await reader.cancel();
                return;
            }
            if (data !== "") {
                const chunk = JSON.parse(data);
                if (chunk.error) {
                    throw new ApiError(200, chunk, 0);
                }
                yield chunk;
            }
        }
    }
}

/* The beginning of a file's content: at most `most` bytes, as text. */
export async function beginningOf(id, most, abort) {
    const response = await api.fileContent(id, abort);
    const reader = response.body.getReader();
    const decoder = new TextDecoder();
    let text = "", bytes = 0;
    while (bytes < most) {
        const { value, done } = await reader.read();
        if (done) {
            return text + decoder.decode();
        }
        bytes += value.length;
        text += decoder.decode(value, { stream: true });
    }
    await reader.cancel();
    return text;
}

/* Saves a file's content under its name. */
export async function download(id, name) {
    const blob = await (await api.fileContent(id)).blob();
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = name;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
}

// ---- polling ----

/* Calls task(AbortSignal), again after the milliseconds it returns (null: not until asked), never
 * twice at once, never while the page is hidden. A server that is away or busy is asked at growing
 * intervals; one that refuses is not asked again: refused(error). Without a valid key it waits for
 * one. Returns { now, stop }. */
export function poll(task, refused) {
    let timer = null, running = null, stopped = false, failures = 0, wanted = false;

    function later(milliseconds) {
        clearTimeout(timer);
        timer = milliseconds === null ? null : setTimeout(run, milliseconds);
    }

    function waitAfter(error) {
        const isApi = error instanceof ApiError;
        if (stopped || error.name === "AbortError" || error.status === 401) {
            return null;
        }
        if (isApi && error.status < 500 && error.status !== 429) {
            refused?.(error);
            return null;
        }
        failures += 1;
        signal("connection", isApi ? error.message : "The server does not answer. Trying again.");
        return Math.max(error.retryAfterMs ?? 0, Math.min(MOST_BACKOFF_MS, 1000 * 2 ** failures));
    }

    async function run() {
        if (stopped || document.hidden) {
            return; // once visible it runs anyway
        }
        if (running !== null) {
            wanted = true;
            return;
        }
        clearTimeout(timer);
        wanted = false;
        running = new AbortController();
        let wait = null;
        try {
            wait = await task(running.signal);
            failures = 0;
            signal("connection", "");
        } catch (error) {
            wait = waitAfter(error);
        } finally {
            running = null;
        }
        if (!stopped) {
            later(wanted ? 0 : wait);
        }
    }

    function onVisible() {
        if (!document.hidden) {
            run();
        } else {
            clearTimeout(timer);
        }
    }

    document.addEventListener("visibilitychange", onVisible);
    signals.addEventListener("key", run);
    run();
    return {
        now: run,
        stop() {
            stopped = true;
            clearTimeout(timer);
            running?.abort();
            document.removeEventListener("visibilitychange", onVisible);
            signals.removeEventListener("key", run);
        },
    };
}
