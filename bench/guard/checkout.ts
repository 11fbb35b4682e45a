/** A commit's files in a folder of their own, for as long as they are needed. */

/** What git prints; an error says why it did not. */
function git(...args: string[]): string {
  const { success, stdout, stderr } = new Deno.Command("git", { args })
    .outputSync();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes).trim();
  if (!success) throw new Error(`git ${args[0]}: ${text(stderr)}`);
  return text(stdout);
}

/** Where this branch left `main`; on `main` itself, what is committed, or the commit before it. */
function defaultCommit(): string {
  const head = git("rev-parse", "HEAD");
  const base = git("merge-base", "HEAD", "main");
  if (base !== head) return base;
  const changed = git("status", "--porcelain", "--untracked-files=no");
  return changed === "" ? "HEAD~1" : "HEAD";
}

/** A work tree of a commit, which is removed when it is disposed of, or the process is told to end. */
export class Checkout implements Disposable {
  readonly folder = Deno.makeTempDirSync({ prefix: "culm-guard-" });
  /** The commit, short, and its subject */
  readonly name: string;

  constructor(commit = defaultCommit()) {
    try {
      git("worktree", "add", "--detach", this.folder, commit);
    } catch (error) {
      Deno.removeSync(this.folder, { recursive: true });
      throw error;
    }
    this.name = git("log", "-1", "--format=%h %s", commit);
    for (const [signal, number] of [["SIGINT", 2], ["SIGTERM", 15]] as const) {
      Deno.addSignalListener(signal, () => {
        this[Symbol.dispose]();
        Deno.exit(128 + number);
      });
    }
  }

  [Symbol.dispose](): void {
    git("worktree", "remove", "--force", this.folder);
  }
}
