import assert from "node:assert/strict";
import { nkeys } from "@nats-io/nats-core";
import { connectNats, type NatsFlags } from "../../cli/nats/connection.ts";
import { tempFolder } from "../cli/temp_folder.ts";
import { hasNats, NatsServer } from "../helpers/nats.ts";
import { needs, testNeeding } from "../helpers/needs.ts";

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
