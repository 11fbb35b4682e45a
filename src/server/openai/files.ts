/** `/v1/files`: what batches are made of, and what they make. */
import { readBytes } from "../body.ts";
import type { FileStore } from "../batch/file_store.ts";
import { missing, RequestError } from "../errors.ts";
import { shown } from "../../options.ts";
import {
  clientOf,
  type ServerApp,
  type ServerCall,
  type ServerContext,
} from "../server_context.ts";

/** Registers `/v1/files`. */
export function fileRoutes(app: ServerApp, context: ServerContext): void {
  const { files } = context;
  app.post("/v1/files", async (call) => {
    const { name, purpose, content } = await readFile(call, context);
    return call.json(files.add(clientOf(call), name, purpose, content));
  });
  app.get("/v1/files", (call) => call.json(pageOf(files.list(clientOf(call)))));
  app.get("/v1/files/:id", (call) => call.json(fileOf(call, files).card));
  app.get("/v1/files/:id/content", (call) => {
    const { content } = fileOf(call, files);
    const headers = { "content-type": "application/octet-stream" };
    return call.body(content, 200, headers);
  });
  app.delete("/v1/files/:id", (call) => {
    const { id } = call.req.param();
    files.delete(clientOf(call), id);
    return call.json({ id, object: "file", deleted: true });
  });
}

function fileOf(call: ServerCall, files: FileStore) {
  return files.get(clientOf(call), call.req.param("id")!);
}

/** All of a list on one page. */
export function pageOf<Item extends { readonly id: string }>(
  data: readonly Item[],
) {
  return {
    object: "list",
    data,
    first_id: data.at(0)?.id ?? null,
    last_id: data.at(-1)?.id ?? null,
    has_more: false,
  };
}

/** @throws {RequestError} 400 for what is no form with a file and a purpose */
async function readFile(call: ServerCall, context: ServerContext) {
  const bytes = await readBytes(call, context);
  const type = call.req.header("content-type") ?? "";
  const headers = { "content-type": type };
  const form = await new Response(bytes, { headers }).formData().catch(() => {
    throw new RequestError(
      400,
      `Cannot read the request's body: it is no multipart/form-data`,
    );
  });
  const file = form.get("file") ?? missing("file");
  const purpose = form.get("purpose") ?? missing("purpose");
  if (purpose !== "batch") {
    throw new RequestError(
      400,
      `Cannot use purpose ${shown(purpose)}: it is "batch"`,
      {
        param: "purpose",
      },
    );
  }
  const isFile = file instanceof File;
  return {
    name: isFile ? file.name : "batch.jsonl",
    purpose,
    content: isFile
      ? new Uint8Array(await file.arrayBuffer())
      : new TextEncoder().encode(file),
  };
}
