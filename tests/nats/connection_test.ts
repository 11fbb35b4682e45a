import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { nkeys } from "@nats-io/nats-core";
import { connectNats, type NatsFlags } from "../../cli/nats/connection.ts";
import { NatsTransport } from "../../cli/nats/transport.ts";
import { runCli } from "../cli/run_cli.ts";
import { tempFolder } from "../cli/temp_folder.ts";
import { hasNats, NatsServer } from "../helpers/nats.ts";
import { needs, testNeeding } from "../helpers/needs.ts";
import { Proxy } from "./proxy.ts";

const tlsFile = (name: string) =>
  new URL(`../fixtures/tls/${name}.pem`, import.meta.url).pathname;

/** Connects, and asks once. */
async function ask(url: string, flags: NatsFlags = {}): Promise<void> {
  const connection = await connectNats(url, flags, "test");
  await connection.rtt();
  await connection.close();
}

Deno.test("what is no address, and a password in one, is refused by one line", async () => {
  for (const url of ["http://127.0.0.1", "127.0.0.1", "nats://a/b", ""]) {
    await assert.rejects(ask(url), /Cannot connect to ".*": it is no nats:/);
  }
  await assert.rejects(ask("nats://a:b@127.0.0.1"), /Cannot take a password/);
  await assert.rejects(
    ask("nats://127.0.0.1:1"),
    /^CulmError: Cannot connect to nats:\/\/127.0.0.1:1: connection refused/,
  );
});

testNeeding(needs.nats, hasNats, {
  name: "users are known by a password or an nkey, by flags or variables",
  fn: async () => {
    await using folder = await tempFolder();
    const natsNkey = `${folder.path}/nkey`;
    const natsPasswordFile = `${folder.path}/password`;
    const nkey = nkeys.createUser();
    await Deno.writeFile(natsNkey, nkey.getSeed());
    await Deno.writeTextFile(natsPasswordFile, "secret\n");
    await using server = await NatsServer.start(
      `authorization { users: [
        { user: ann, password: secret }, { nkey: ${nkey.getPublicKey()} }
      ] }`,
    );
    const natsUser = "ann";
    await ask(server.url, { natsUser, natsPasswordFile });
    await ask(server.url, { natsNkey });
    Deno.env.set("NATS_PASSWORD", "secret");
    await ask(server.url, { natsUser });
    Deno.env.set("NATS_PASSWORD", "wrong");
    for (const flags of [{}, { natsUser }]) {
      await assert.rejects(
        ask(server.url, flags),
        /^CulmError: Cannot connect to nats:\S+: .*Authorization Violation/i,
      );
    }
    Deno.env.delete("NATS_PASSWORD");
    await assert.rejects(
      ask(server.url, { natsUser, natsNkey }),
      /Cannot be several users/,
    );
    await assert.rejects(
      ask(server.url, { natsCreds: natsPasswordFile }),
      /Cannot read the credentials/,
    );
  },
});

testNeeding(needs.nats, hasNats, {
  name: "servers are known by certificates; one without TLS gets nothing",
  fn: async () => {
    await using server = await NatsServer.start(
      `tls { cert_file: "${tlsFile("cert")}", key_file: "${tlsFile("key")}" }`,
    );
    const safe = server.url.replace("nats:", "tls:");
    await ask(safe, { natsCa: tlsFile("cert") });
    await assert.rejects(ask(safe), /Cannot connect to tls:.*certificate/i);
    await using open = await NatsServer.start();
    await assert.rejects(
      ask(open.url.replace("nats:", "tls:")),
      /Cannot connect to tls:\S+: .*tls/,
    );
    await assert.rejects(
      ask(safe, { natsCert: tlsFile("cert") }),
      /--nats-cert and --nats-key go together/,
    );
  },
});

/** A file of credentials, as NATS's tools write it. */
function credentials(token: string, user: nkeys.KeyPair): Uint8Array {
  const seed = new TextDecoder().decode(user.getSeed());
  return new TextEncoder().encode(`-----BEGIN NATS USER JWT-----
${token}
------END NATS USER JWT------

-----BEGIN USER NKEY SEED-----
${seed}
------END USER NKEY SEED------
`);
}

/** A JWT of NATS's, of `issuer` for `subject`. */
function tokenOf(
  issuer: nkeys.KeyPair,
  subject: nkeys.KeyPair,
  type: "operator" | "account" | "user",
): string {
  const encoded = (bytes: string | Uint8Array) =>
    Buffer.from(bytes).toString("base64url");
  const claims = {
    jti: subject.getPublicKey(),
    iat: 1,
    iss: issuer.getPublicKey(),
    name: type,
    sub: subject.getPublicKey(),
    nats: {
      type,
      version: 2,
      // The others are without limits where none is stated.
      ...type === "user" && { subs: -1, data: -1, payload: -1 },
      ...type === "account" &&
        { limits: { subs: -1, data: -1, payload: -1, conn: -1, leaf: -1 } },
    },
  };
  const header = encoded(JSON.stringify({ typ: "JWT", alg: "ed25519-nkey" }));
  const signed = `${header}.${encoded(JSON.stringify(claims))}`;
  const signature = issuer.sign(new TextEncoder().encode(signed));
  return `${signed}.${encoded(signature)}`;
}

testNeeding(needs.nats, hasNats, {
  name: "users are known by a file of credentials",
  fn: async () => {
    await using folder = await tempFolder();
    const operator = nkeys.createOperator(), account = nkeys.createAccount();
    const user = nkeys.createUser(), stranger = nkeys.createAccount();
    const system = nkeys.createAccount();
    const preloaded = [account, system].map((each) =>
      `${each.getPublicKey()}: ${tokenOf(operator, each, "account")}`
    );
    await using server = await NatsServer.start(
      `operator: ${tokenOf(operator, operator, "operator")}
      resolver: MEMORY
      system_account: ${system.getPublicKey()}
      resolver_preload: { ${preloaded.join("\n")} }`,
    );
    const natsCreds = `${folder.path}/creds`;
    const write = (issuer: nkeys.KeyPair) =>
      Deno.writeFile(
        natsCreds,
        credentials(tokenOf(issuer, user, "user"), user),
      );
    await write(account);
    await ask(server.url, { natsCreds });
    await write(stranger);
    await assert.rejects(ask(server.url, { natsCreds }), /Authorization/);
  },
});

testNeeding(needs.nats, hasNats, {
  name: "a server is dialled by its name, and known by that in its certificate",
  fn: async () => {
    await using server = await NatsServer.start(
      `tls { cert_file: "${tlsFile("cert")}", key_file: "${tlsFile("key")}" }`,
    );
    const host = `localhost:${server.port}`;
    const { err } = await runCli(
      ["batch", "status", `batch_${"0".repeat(32)}`, "--queue", `tls://${host}`]
        .concat("--nats-ca", tlsFile("cert")),
      {
        permissions: [`--allow-net=${host}`, "--allow-read", "--allow-env"],
      },
    );
    assert.match(err, /^error: Cannot ask for a batch: nobody has submitted/);
    // The certificate is one of localhost and 127.0.0.1.
    await using other = new Proxy(server.port, "127.0.0.2");
    await assert.rejects(
      ask(other.url.replace("nats:", "tls:"), { natsCa: tlsFile("cert") }),
      /does not match certificate/,
    );
  },
});

Deno.test("a reset ends no process, whoever has taken the listeners off a socket", async () => {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr;
  const [socket, connection] = await Promise.all([
    new NatsTransport().dial({ hostname: "127.0.0.1", port }),
    listener.accept(),
  ]);
  for (let i = 0; i < 2; i++) {
    assert.ok(socket.emit("error", new Error("reset")));
    socket.removeAllListeners();
  }
  const closed = new Promise((resolve) => socket.on("close", resolve));
  socket.destroy();
  await closed;
  connection.close();
});
