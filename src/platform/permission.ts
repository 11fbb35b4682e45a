/** What the sandbox lets a program do, where there is one: it is never asked to let it do more. */

/** What of Deno is used, where that is what runs. */
interface Sandbox {
  readonly permissions?: {
    querySync(descriptor: object): { readonly state: string };
  };
}

const { Deno: sandbox } = globalThis as { Deno?: Sandbox };

/** Whether something is permitted; it is where there is no sandbox. */
export function permits(
  name: "read" | "write",
  path: string,
): boolean {
  return isGranted({ name, path });
}

/** What the environment says, as far as that may be read. */
export function variable(name: string): string | undefined {
  const { process } = globalThis as {
    process?: { env: Record<string, string | undefined> };
  };
  if (!isGranted({ name: "env", variable: name })) return undefined;
  return process?.env[name] || undefined;
}

function isGranted(descriptor: object): boolean {
  return sandbox?.permissions === undefined ||
    sandbox.permissions.querySync(descriptor).state === "granted";
}
