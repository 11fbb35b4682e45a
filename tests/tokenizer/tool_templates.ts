/** Chat templates that write calls of tools as well-known models do, and how these answer. */

/** A family of models. */
export interface ToolFamily {
  readonly template: string;
  /** Answers with one call of `rain` with `{"city": "Oslo", "days": 2}`, as the model writes it or nearly */
  readonly calls: readonly string[];
  /** Two calls in one answer, where the model makes several: of `rain`, as above, and of `stop` without arguments */
  readonly two?: string;
}

/** Jinja leaves a line's end out behind a tag, and at the end of a template. */
const withLineEnds = (template: string) =>
  template.replace(/(?<=%\})\n|\n$/g, "{{ '\\n' }}");

const turns = (calls: string, end = "<|im_end|>\n") =>
  withLineEnds(
    "{% if tools %}{{ tools | tojson }}\n{% endif %}" +
      "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content or '' }}" +
      `{% if m.tool_calls %}${calls}{% endif %}${end}{% endfor %}` +
      "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
  );

const each = (call: string) =>
  "{% for c in m.tool_calls %}{% set f = c.function %}" +
  `{% set a = f.arguments %}${call}{% endfor %}`;

const object = "{{ {'name': f.name, 'arguments': a} | tojson }}";

const pairs = (pair: string) =>
  `{% for k, v in a.items() %}${pair}{% endfor %}`;
const value = "{{ v if v is string else v | tojson }}";

export const toolFamilies: Record<string, ToolFamily> = {
  hermes: {
    template: turns(each(
      `{% if not loop.first %}\n{% endif %}<tool_call>\n${object}\n</tool_call>`,
    )),
    calls: [
      '<tool_call>\n{"name": "rain", "arguments": {"city": "Oslo", "days": 2}}\n</tool_call>',
      '<tool_call>{"arguments":{"city":"Oslo","days":2},"name":"rain"}</tool_call>\n',
      '<tool_call>\n{"name": "rain", "arguments": "{\\"city\\": \\"Oslo\\", \\"days\\": 2}"}\n</tool_call>',
      '<tool_call>\n{"name": "rain", "id": 7, "arguments": {"city": "Oslo", "days": 2}}',
    ],
    two:
      '<tool_call>\n{"name": "rain", "arguments": {"city": "Oslo", "days": 2}}\n</tool_call>\n' +
      '<tool_call>\n{"name": "stop", "arguments": {}}\n</tool_call>',
  },
  "llama 3": {
    template: turns(
      "{% if m.tool_calls | length > 1 %}{{ raise_exception('One call') }}{% endif %}" +
        "{% set f = m.tool_calls[0].function %}" +
        "{{ {'name': f.name, 'parameters': f.arguments} | tojson }}",
      "<|eot_id|>",
    ) + "{# <|python_tag|> #}",
    calls: [
      '{"name": "rain", "parameters": {"city": "Oslo", "days": 2}}',
      '<|python_tag|>{"name": "rain", "parameters": {"city": "Oslo", "days": 2}}',
      '\n {"type": "function", "name": "rain", "parameters": {"city": "Oslo", "days": 2}}',
    ],
    two:
      '{"name": "rain", "parameters": {"city": "Oslo", "days": 2}}; {"name": "stop", "parameters": {}}',
  },
  "mistral nemo": {
    template: turns(
      "[TOOL_CALLS][" + each(
        "{% if c.id | length != 9 %}{{ raise_exception('Nine') }}{% endif %}" +
          "{{ {'name': f.name, 'arguments': a, 'id': c.id} | tojson }}{% if not loop.last %}, {% endif %}",
      ) + "]",
      "</s>",
    ),
    calls: [
      '[TOOL_CALLS][{"name": "rain", "arguments": {"city": "Oslo", "days": 2}, "id": "abcdef123"}]',
      '[TOOL_CALLS] [{"name": "rain", "arguments": {"city": "Oslo", "days": 2}}]',
    ],
    two:
      '[TOOL_CALLS][{"name": "rain", "arguments": {"city": "Oslo", "days": 2}, "id": "abcdef123"}, {"name": "stop", "arguments": {}, "id": "123456789"}]',
  },
  "mistral 3": {
    template: turns(
      each("[TOOL_CALLS]{{ f.name }}[CALL_ID]{{ c.id }}[ARGS]{{ a | tojson }}"),
      "</s>",
    ),
    calls: [
      '[TOOL_CALLS]rain[CALL_ID]abcdef123[ARGS]{"city": "Oslo", "days": 2}',
    ],
    two:
      '[TOOL_CALLS]rain[CALL_ID]abcdef123[ARGS]{"city": "Oslo", "days": 2}[TOOL_CALLS]stop[CALL_ID]1[ARGS]{}',
  },
  "functionary 3.1": {
    template: turns(each("<function={{ f.name }}>{{ a | tojson }}</function>")),
    calls: ['<function=rain>{"city": "Oslo", "days": 2}</function>'],
    two:
      '<function=rain>{"city": "Oslo", "days": 2}</function><function=stop>{}</function>',
  },
  deepseek: {
    template: turns(
      "<｜tool▁calls▁begin｜>" + each(
        "<｜tool▁call▁begin｜>function<｜tool▁sep｜>{{ f.name }}\n```json\n" +
          "{{ a }}\n```<｜tool▁call▁end｜>{% if not loop.last %}\n{% endif %}",
      ) + "<｜tool▁calls▁end｜>",
      "<｜end▁of▁sentence｜>",
    ),
    calls: [
      '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>rain\n```json\n{"city": "Oslo", "days": 2}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
      '<｜tool▁call▁begin｜>function<｜tool▁sep｜>rain\n```json\n{"city": "Oslo", "days": 2}```<｜tool▁call▁end｜>',
    ],
    two:
      '<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>rain\n```json\n{"city": "Oslo", "days": 2}\n```<｜tool▁call▁end｜>\n<｜tool▁call▁begin｜>function<｜tool▁sep｜>stop\n```json\n{}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>',
  },
  kimi: {
    template: turns(
      "<|tool_calls_section_begin|>" + each(
        "<|tool_call_begin|>functions.{{ f.name }}:{{ loop.index0 }}" +
          "<|tool_call_argument_begin|>{{ a | tojson }}<|tool_call_end|>",
      ) + "<|tool_calls_section_end|>",
    ),
    calls: [
      '<|tool_calls_section_begin|><|tool_call_begin|>functions.rain:0<|tool_call_argument_begin|>{"city": "Oslo", "days": 2}<|tool_call_end|><|tool_calls_section_end|>',
    ],
    two:
      '<|tool_calls_section_begin|><|tool_call_begin|>functions.rain:0<|tool_call_argument_begin|>{"city": "Oslo", "days": 2}<|tool_call_end|><|tool_call_begin|>functions.stop:1<|tool_call_argument_begin|>{}<|tool_call_end|><|tool_calls_section_end|>',
  },
  "command r": {
    template: turns(
      "<|START_ACTION|>[" + each(
        '\n    {"tool_call_id": "{{ loop.index0 }}", "tool_name": {{ f.name | tojson }}, "parameters": {{ a | tojson }}}{% if not loop.last %},{% endif %}',
      ) + "\n]<|END_ACTION|>",
    ),
    calls: [
      '<|START_ACTION|>[\n    {"tool_call_id": "0", "tool_name": "rain", "parameters": {"city": "Oslo", "days": 2}}\n]<|END_ACTION|>',
    ],
    two:
      '<|START_ACTION|>[\n    {"tool_call_id": "0", "tool_name": "rain", "parameters": {"city": "Oslo", "days": 2}},\n    {"tool_call_id": "1", "tool_name": "stop", "parameters": {}}\n]<|END_ACTION|>',
  },
  "qwen coder": {
    template: turns(each(
      "{% if not loop.first %}\n{% endif %}<tool_call>\n<function={{ f.name }}>\n" +
        pairs(`<parameter={{ k }}>\n${value}\n</parameter>\n`) +
        "</function>\n</tool_call>",
    )),
    calls: [
      "<tool_call>\n<function=rain>\n<parameter=city>\nOslo\n</parameter>\n<parameter=days>\n2\n</parameter>\n</function>\n</tool_call>",
      "<function=rain>\n<parameter=city>\nOslo\n</parameter>\n<parameter=days>\n2\n</parameter>\n</function>\n</tool_call>",
      "<tool_call><function=rain><parameter=city>Oslo</parameter><parameter=days>2</parameter></function></tool_call>",
    ],
    two:
      "<tool_call>\n<function=rain>\n<parameter=city>\nOslo\n</parameter>\n<parameter=days>\n2\n</parameter>\n</function>\n</tool_call>\n<tool_call>\n<function=stop>\n</function>\n</tool_call>",
  },
  glm: {
    template: turns(each(
      "\n<tool_call>{{ f.name }}\n" +
        pairs(
          `<arg_key>{{ k }}</arg_key>\n<arg_value>${value}</arg_value>\n`,
        ) + "</tool_call>",
    )),
    calls: [
      "\n<tool_call>rain\n<arg_key>city</arg_key>\n<arg_value>Oslo</arg_value>\n<arg_key>days</arg_key>\n<arg_value>2</arg_value>\n</tool_call>",
    ],
    two:
      "\n<tool_call>rain\n<arg_key>city</arg_key>\n<arg_value>Oslo</arg_value>\n<arg_key>days</arg_key>\n<arg_value>2</arg_value>\n</tool_call>\n<tool_call>stop\n</tool_call>",
  },
  "deepseek 3.2": {
    template: turns(
      "\n\n<｜DSML｜function_calls>\n" + each(
        '<｜DSML｜invoke name="{{ f.name }}">\n' + pairs(
          "<｜DSML｜parameter name=\"{{ k }}\" string=\"{{ 'true' if v is string else 'false' }}\">" +
            `${value}</｜DSML｜parameter>\n`,
        ) + "</｜DSML｜invoke>\n",
      ) + "</｜DSML｜function_calls>",
      "<｜end▁of▁sentence｜>",
    ),
    calls: [
      '<｜DSML｜function_calls>\n<｜DSML｜invoke name="rain">\n<｜DSML｜parameter name="city" string="true">Oslo</｜DSML｜parameter>\n<｜DSML｜parameter name="days" string="false">2</｜DSML｜parameter>\n</｜DSML｜invoke>\n</｜DSML｜function_calls>',
    ],
    two:
      '<｜DSML｜function_calls>\n<｜DSML｜invoke name="rain">\n<｜DSML｜parameter name="city" string="true">Oslo</｜DSML｜parameter>\n<｜DSML｜parameter name="days" string="false">2</｜DSML｜parameter>\n</｜DSML｜invoke>\n<｜DSML｜invoke name="stop">\n</｜DSML｜invoke>\n</｜DSML｜function_calls>',
  },
  "no tools": {
    template: withLineEnds(
      "{% for m in messages %}<|im_start|>{{ m.role }}\n" +
        "{{ m.content }}<|im_end|>\n{% endfor %}<|im_start|>assistant\n",
    ),
    calls: [
      '<tool_call>\n{"name": "rain", "arguments": {"city": "Oslo", "days": 2}}\n</tool_call>',
    ],
    two:
      '<tool_call>\n{"name": "rain", "arguments": {"city": "Oslo", "days": 2}}\n</tool_call>\n' +
      '<tool_call>\n{"name": "stop", "arguments": {}}\n</tool_call>',
  },
  "gpt-oss": {
    template:
      "{% if tools %}{% for t in tools %}{{ 'functions.' ~ t.function.name }}{% endfor %}{% endif %}" +
      "{% for m in messages %}<|start|>{% if m.tool_calls %}{% set f = m.tool_calls[0].function %}" +
      "assistant to=functions.{{ f.name }}<|channel|>commentary json<|message|>{{ f.arguments | tojson }}<|call|>" +
      "{% else %}{{ m.role }}{% if m.role == 'assistant' %}<|channel|>final{% endif %}<|message|>{{ m.content }}<|end|>{% endif %}{% endfor %}" +
      "{% if add_generation_prompt %}<|start|>assistant{% endif %}",
    calls: [
      ' to=functions.rain<|channel|>commentary json<|message|>{"city": "Oslo", "days": 2}<|call|>',
      '<|channel|>commentary to=functions.rain <|constrain|>json<|message|>{"city": "Oslo", "days": 2}',
      '<|channel|>analysis to=functions.rain<|message|>{"city": "Oslo", "days": 2}',
    ],
  },
};

/** The tools that they call. */
export const rainTools = [
  {
    type: "function",
    function: {
      name: "rain",
      description: "How much it rains",
      parameters: {
        type: "object",
        properties: {
          city: { type: "string" },
          days: { type: "integer" },
        },
        required: ["city", "days"],
      },
    },
  },
  { type: "function", function: { name: "stop" } },
];
