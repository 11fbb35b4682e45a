/**
 * Chat templates by the names that llama.cpp gives them, for models whose files
 * have none.
 *
 * @module
 */

/** What stands before a role, between it and what is said, and behind that. */
function turns(before: string, between: string, behind: string, said: string) {
  const text = (text: string) => JSON.stringify(text);
  return "{% for message in messages %}" +
    `{{ ${text(before)} ~ message.role ~ ${text(between)} ~ ${said} ~ ${
      text(behind)
    } }}{% endfor %}` +
    `{% if add_generation_prompt %}{{ ${
      text(`${before}assistant${between}`)
    } }}{% endif %}`;
}

const content = "message.content";
const trimmed = "(message.content | trim)";

/** By name. */
export const namedTemplates: Readonly<Record<string, string>> = {
  chatml: turns("<|im_start|>", "\n", "<|im_end|>\n", content),
  "command-r": "{% set names = {'system': 'SYSTEM', 'user': 'USER', " +
    "'assistant': 'CHATBOT'} %}{% for message in messages %}" +
    "{{ '<|START_OF_TURN_TOKEN|><|' ~ names[message.role] ~ '_TOKEN|>' ~ " +
    "(message.content | trim) ~ '<|END_OF_TURN_TOKEN|>' }}{% endfor %}" +
    "{% if add_generation_prompt %}" +
    "{{ '<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>' }}{% endif %}",
  falcon3: turns("<|", "|>\n", "\n", content),
  // It knows no system: what that says comes before the user's first message.
  gemma: "{% set ns = namespace(system='') %}{% for message in messages %}" +
    "{% if message.role == 'system' %}" +
    "{% set ns.system = ns.system ~ (message.content | trim) %}" +
    "{% else %}{% set isModel = message.role == 'assistant' %}" +
    "{{ '<start_of_turn>' ~ ('model' if isModel else message.role) ~ '\\n' }}" +
    "{% if ns.system and not isModel %}" +
    "{{ ns.system ~ '\\n\\n' }}{% set ns.system = '' %}{% endif %}" +
    "{{ (message.content | trim) ~ '<end_of_turn>\\n' }}" +
    "{% endif %}{% endfor %}" +
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\\n' }}{% endif %}",
  llama3: turns(
    "<|start_header_id|>",
    "<|end_header_id|>\n\n",
    "<|eot_id|>",
    trimmed,
  ),
  phi3: turns("<|", "|>\n", "<|end|>\n", content),
  phi4: turns("<|im_start|>", "<|im_sep|>", "<|im_end|>", content),
  zephyr: turns("<|", "|>\n", "<|endoftext|>\n", content),
};
