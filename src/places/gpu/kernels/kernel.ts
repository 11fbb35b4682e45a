/**
 * What a kernel is: bindings, text, uniform parameters and constants, each
 * stated once and by name. WGSL's declarations, bind groups and the bytes of the
 * parameters are made from the same tables.
 */
import { step as stepText } from "../../../../shaders/shaders.ts";
import { GpuError } from "../../../errors.ts";
import { stepWords } from "./step_words.ts";

/** A storage buffer as a kernel sees it: how it is used, and of what type its elements are. */
export type Binding = `${"read" | "read_write"} ${string}`;

/** Workgroups along x, y and z. */
export type Grid = readonly [x: number, y?: number, z?: number];

/** A kernel; its file has a function that gives its {@linkcode Grid} too. */
export interface Kernel {
  /** Its label on the device; kernels of one name have one text */
  readonly name: string;
  /** The most that parameters may be */
  readonly limits?: Readonly<Record<string, number>>;
  /** Whether it writes to the step, which others read */
  readonly writesStep?: true;
  /** Buffers in the order of their numbers, behind the step and the parameters */
  readonly bindings: Readonly<Record<string, Binding>>;
  /** WGSL that goes without declarations of the others, in pieces */
  readonly body: readonly string[];
  /** Types of the uniform parameters, `params` in WGSL */
  readonly params: Readonly<Record<string, "u32" | "f32">>;
  /** Override constants, which a pipeline may set, and what they are otherwise */
  readonly overrides?: Readonly<Record<string, number | boolean>>;
  /** Whole numbers that the text shares with TypeScript; in a table, `a: { b }` is `a_b` */
  readonly constants?: Readonly<
    Record<string, number | Readonly<Record<string, number>>>
  >;
}

export type ParamsOf<K extends Pick<Kernel, "params">> = Readonly<
  Record<keyof K["params"], number>
>;

export type OverridesOf<K extends Kernel> = Readonly<
  Partial<Record<keyof K["overrides"], number | boolean>>
>;

/** How each binding of a kernel is used, by number. */
export function bindingTypes(
  { bindings, writesStep }: Kernel,
): GPUBufferBindingType[] {
  const [step, ...types] = [stepBinding(writesStep), ...Object.values(bindings)]
    .map((binding) =>
      binding.startsWith("read ") ? "read-only-storage" : "storage"
    );
  return [step, "uniform", ...types];
}

function stepBinding(writesStep?: true): Binding {
  return writesStep ? "read_write u32" : "read u32";
}

/** The names of what a kernel is bound to, by number. */
export function bindingNames({ bindings }: Kernel): string[] {
  return ["step", "params", ...Object.keys(bindings)];
}

export function wgslOf(kernel: Kernel): string {
  const { bindings, params, overrides = {}, constants, body } = kernel;
  const step = stepBinding(kernel.writesStep);
  const declared = Object.entries({ step, ...bindings }).map(
    ([name, binding], i) => {
      const [access, type] = binding.split(" ");
      // Number 1 is that of the parameters.
      const number = i === 0 ? 0 : i + 1;
      return `@group(0) @binding(${number}) var<storage, ${access}> ${name}: array<${type}>;`;
    },
  );
  return [
    ...declared,
    "struct Params {",
    ...Object.entries(params).map(([name, type]) => `  ${name}: ${type},`),
    "}",
    "@group(0) @binding(1) var<uniform> params: Params;",
    ...Object.entries(overrides).map(([name, value]) =>
      typeof value === "boolean"
        ? `override ${name}: bool = ${value};`
        : `override ${name}: u32 = ${value}u;`
    ),
    ...Object.entries({ ...stepWords, ...constants }).flatMap(
      ([name, value]) =>
        typeof value === "number"
          ? `const ${name} = ${value}u;`
          : Object.entries(value)
            .map(([each, value]) => `const ${name}_${each} = ${value}u;`),
    ),
    stepText,
    ...body,
  ].join("\n");
}

/**
 * The bytes of a kernel's uniform parameters.
 *
 * @throws {GpuError} where one is above its limit
 */
export function packParams<
  K extends Pick<Kernel, "name" | "params" | "limits">,
>(
  { name, params, limits = {} }: K,
  values: ParamsOf<K>,
): Uint32Array<ArrayBuffer> {
  const entries = Object.entries(params);
  // Structs end on multiples of 16 bytes.
  const words = new Uint32Array(4 * Math.ceil(entries.length / 4));
  const floats = new Float32Array(words.buffer);
  entries.forEach(([param, type], i) => {
    const value = values[param];
    if (value > limits[param]) {
      throw new GpuError(
        `Cannot run ${name}: ${param} is ${value}, the limit is ${
          limits[param]
        }`,
      );
    }
    if (type === "u32") words[i] = value;
    else floats[i] = value;
  });
  return words;
}
