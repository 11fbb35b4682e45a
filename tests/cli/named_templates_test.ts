import assert from "node:assert/strict";
import { namedTemplates } from "../../cli/named_templates.ts";
import { ChatTemplate } from "../../src/tokenizer/chat_template.ts";

const chat = [
  { role: "system", content: " Be brief. " },
  { role: "user", content: " Hi\n" },
  { role: "assistant", content: "Ho" },
  { role: "user", content: "Bye" },
];

/** What llama.cpp's `llama_chat_apply_template` writes, by its source. */
const written: Record<string, string> = {
  chatml: "<|im_start|>system\n Be brief. <|im_end|>\n" +
    "<|im_start|>user\n Hi\n<|im_end|>\n<|im_start|>assistant\nHo<|im_end|>\n" +
    "<|im_start|>user\nBye<|im_end|>\n<|im_start|>assistant\n",
  "command-r":
    "<|START_OF_TURN_TOKEN|><|SYSTEM_TOKEN|>Be brief.<|END_OF_TURN_TOKEN|>" +
    "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>Hi<|END_OF_TURN_TOKEN|>" +
    "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>Ho<|END_OF_TURN_TOKEN|>" +
    "<|START_OF_TURN_TOKEN|><|USER_TOKEN|>Bye<|END_OF_TURN_TOKEN|>" +
    "<|START_OF_TURN_TOKEN|><|CHATBOT_TOKEN|>",
  falcon3: "<|system|>\n Be brief. \n<|user|>\n Hi\n\n<|assistant|>\nHo\n" +
    "<|user|>\nBye\n<|assistant|>\n",
  gemma: "<start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n" +
    "<start_of_turn>model\nHo<end_of_turn>\n" +
    "<start_of_turn>user\nBye<end_of_turn>\n<start_of_turn>model\n",
  llama3: "<|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>" +
    "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>" +
    "<|start_header_id|>assistant<|end_header_id|>\n\nHo<|eot_id|>" +
    "<|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|>" +
    "<|start_header_id|>assistant<|end_header_id|>\n\n",
  phi3: "<|system|>\n Be brief. <|end|>\n<|user|>\n Hi\n<|end|>\n" +
    "<|assistant|>\nHo<|end|>\n<|user|>\nBye<|end|>\n<|assistant|>\n",
  phi4: "<|im_start|>system<|im_sep|> Be brief. <|im_end|>" +
    "<|im_start|>user<|im_sep|> Hi\n<|im_end|>" +
    "<|im_start|>assistant<|im_sep|>Ho<|im_end|>" +
    "<|im_start|>user<|im_sep|>Bye<|im_end|>" +
    "<|im_start|>assistant<|im_sep|>",
  zephyr:
    "<|system|>\n Be brief. <|endoftext|>\n<|user|>\n Hi\n<|endoftext|>\n" +
    "<|assistant|>\nHo<|endoftext|>\n<|user|>\nBye<|endoftext|>\n<|assistant|>\n",
};

for (const [name, template] of Object.entries(namedTemplates)) {
  Deno.test(`the template called ${name} writes what llama.cpp's does`, () => {
    assert.equal(new ChatTemplate(template).render(chat), written[name]);
  });
}
