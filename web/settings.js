/** Settings of a chat: the system prompt, how tokens are chosen, and the form of answers. */
import { ask, make } from "./dom.js";

/** Numbers that a request may have; where one is left empty, the server's default holds. */
const numbers = [
  { name: "temperature", label: "Temperature", min: 0, max: 5, step: "any" },
  { name: "top_k", label: "Top k", min: 0, step: 1 },
  { name: "top_p", label: "Top p", min: 0, max: 1, step: "any" },
  { name: "min_p", label: "Min p", min: 0, max: 1, step: "any" },
  { name: "repeat_penalty", label: "Repeat penalty", min: 0, step: "any" },
  { name: "presence_penalty", label: "Presence penalty", step: "any" },
  { name: "frequency_penalty", label: "Frequency penalty", step: "any" },
  { name: "max_tokens", label: "Most tokens", min: 1, step: 1 },
  { name: "seed", label: "Seed", min: 0, step: 1 },
];

const forms = {
  text: "Text",
  json_object: "JSON",
  json_schema: "JSON by a schema",
};

const themeName = "culm-theme";
const themes = { auto: "As the system", light: "Light", dark: "Dark" };

/** Takes on the appearance that was chosen. */
export function applyTheme() {
  document.documentElement.dataset.theme = themeOf();
}

function themeOf() {
  try {
    const theme = localStorage.getItem(themeName);
    return Object.hasOwn(themes, theme) ? theme : "auto";
  } catch {
    return "auto";
  }
}

/** What a new chat has. */
export const newSettings = {
  system: "",
  numbers: {},
  form: "text",
  schema: "",
};

/** Settings as far as they are any, for chats from elsewhere. */
export function checkedSettings(given) {
  const known = Object.fromEntries(
    numbers.map(({ name }) => [name, given?.numbers?.[name]])
      .filter(([, value]) => Number.isFinite(value)),
  );
  const text = (value) => typeof value === "string" ? value : "";
  return {
    system: text(given?.system),
    numbers: known,
    form: Object.hasOwn(forms, given?.form) ? given.form : "text",
    schema: text(given?.schema),
  };
}

/** The fields of a request. */
export function fieldsOf({ numbers, form, schema }) {
  const response_format = form === "json_schema"
    ? {
      type: form,
      json_schema: { name: "answer", strict: true, schema: JSON.parse(schema) },
    }
    : { type: form };
  return { ...numbers, ...form !== "text" && { response_format } };
}

/** Lets the user change settings; gives the new ones, or undefined. */
export function askForSettings(settings) {
  const system = make("textarea", { id: "system", rows: 4 });
  system.value = settings.system;
  const inputs = numbers.map(({ name, label: _label, ...range }) => {
    const input = make("input", {
      type: "number",
      id: `setting-${name}`,
      placeholder: "default",
      inputmode: range.step === 1 ? "numeric" : "decimal",
      ...range,
    });
    input.value = settings.numbers[name] ?? "";
    return input;
  });
  const form = choice("answer-form", forms, settings.form);
  const theme = choice("theme", themes, themeOf());
  const schema = make("textarea", {
    id: "schema",
    rows: 6,
    spellcheck: "false",
    "aria-describedby": "schema-fault",
    placeholder: '{ "type": "object" }',
  });
  schema.value = settings.schema;
  const fault = make("p", { id: "schema-fault", role: "alert" });
  const schemaField = make(
    "div",
    { class: "field" },
    make("label", { for: "schema" }, "JSON schema"),
    schema,
    fault,
  );
  const showSchema = () => schemaField.hidden = form.value !== "json_schema";
  form.addEventListener("change", showSchema);
  showSchema();

  const onsubmit = () => {
    if (form.value === "json_schema") {
      const why = faultOf(schema.value);
      fault.textContent = why;
      schema.setAttribute("aria-invalid", String(why !== ""));
      if (why) {
        schema.focus();
        return undefined;
      }
    }
    try {
      localStorage.setItem(themeName, theme.value);
    } catch {
      // The browser keeps nothing; the tab does.
    }
    document.documentElement.dataset.theme = theme.value;
    return checkedSettings({
      system: system.value,
      numbers: Object.fromEntries(
        inputs.filter(({ value }) => value !== "")
          .map((
            input,
          ) => [input.id.slice("setting-".length), input.valueAsNumber]),
      ),
      form: form.value,
      schema: schema.value,
    });
  };
  return ask("Settings of this chat", [
    field("system", "System prompt", system),
    make(
      "fieldset",
      {},
      make("legend", {}, "How tokens are chosen"),
      make(
        "div",
        { class: "fields" },
        ...inputs.map((input, i) => field(input.id, numbers[i].label, input)),
      ),
      make(
        "p",
        { class: "hint" },
        "What is left empty is as the server has it.",
      ),
    ),
    field("answer-form", "Answers are", form),
    schemaField,
    field("theme", "Appearance of the page", theme),
  ], { action: "Save", onsubmit });
}

function field(id, label, input) {
  return make(
    "div",
    { class: "field" },
    make("label", { for: id }, label),
    input,
  );
}

function choice(id, texts, chosen) {
  const options = Object.entries(texts).map(([value, text]) =>
    make("option", { value, selected: value === chosen }, text)
  );
  return make("select", { id }, ...options);
}

/** Why a text is no schema, or "". */
function faultOf(text) {
  try {
    const schema = JSON.parse(text);
    return typeof schema === "object" && schema !== null &&
        !Array.isArray(schema)
      ? ""
      : 'A schema is an object, as in { "type": "object" }.';
  } catch (error) {
    return `This is no JSON: ${error.message}`;
  }
}
