/**
 * The entry of every worker. Bundled into `worker.bundle.js`, which is started
 * as text so that no permission is needed.
 */
import { FetchService } from "../browser/fetch_service.ts";
import { VocabularyService } from "../constrain/vocabulary_service.ts";
import { QuantiserService } from "../convert/quantiser_service.ts";
import { LayerService } from "../lab/predictor/layer_service.ts";
import { PlaceService } from "../places/threads/place_service.ts";
import { ReaderService } from "../places/threads/reader_service.ts";
import { serve } from "../platform/rpc_server.ts";

serve({
  fetcher: (emit) => new FetchService(emit),
  place: (emit) => new PlaceService(emit),
  reader: () => new ReaderService(),
  quantiser: () => new QuantiserService(),
  vocabulary: () => new VocabularyService(),
  predictor: (emit) => new LayerService(emit),
});
