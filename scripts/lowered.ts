/** For Node 22 and Safari, which have no `using`. */
export const target = "es2022";

/**
 * For Safari, which has no symbols of disposing either: those that esbuild, and
 * what else takes `using` out of a program, look for then.
 */
export const symbols =
  `for (const name of ["dispose", "asyncDispose"]) if (!Symbol[name]) Object.defineProperty(Symbol, name, { value: Symbol.for("Symbol." + name) });`;
