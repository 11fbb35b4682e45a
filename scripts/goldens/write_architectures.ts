/**
 * Writes the small random models of tests/helpers/architecture_models.ts as files, for
 * architectures_llama_cpp.mjs: `deno run -A scripts/goldens/write_architectures.ts FOLDER`.
 *
 * @module
 */
import {
  architectureModel,
  architectureNames,
} from "../../tests/helpers/architecture_models.ts";

const [folder] = Deno.args;
await Deno.mkdir(folder, { recursive: true });
for (const name of architectureNames) {
  const { bytes } = await architectureModel(name);
  await Deno.writeFile(`${folder}/${name}.gguf`, bytes);
}
