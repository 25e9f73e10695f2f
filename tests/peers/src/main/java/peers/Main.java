package peers;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedOutputStream;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;

/**
 * Answers requests, one JSON object a line, until its input ends.
 *
 * <p>A request has {@code topology}, {@code params}, {@code stores} ({@code rocksdb}, or {@code memory}: the
 * same results, faster), {@code cache} (true by default: each record is a commit, so a cache swallows no
 * update, only what changes nothing) and {@code records}: {@code [[topic, key, value, timestamp], ...]}. Its
 * answer has {@code records}:
 * {@code [[key, value, timestamp, window start, window end, line], ...]}, or {@code error}. A window is null
 * where there is none; a line is the number, from 1, of the record whose processing gave the result.
 */
final class Main {
    private Main() {}

    public static void main(final String[] arguments) throws IOException {
        final ObjectMapper json = new ObjectMapper();
        final BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        try (OutputStream out = new BufferedOutputStream(System.out, 1 << 16)) {
            for (String line = in.readLine(); line != null; line = in.readLine()) {
                out.write(json.writeValueAsBytes(answer(json, line)));
                out.write('\n');
                if (!in.ready()) {
                    out.flush();
                }
            }
        }
    }

    private static ObjectNode answer(final ObjectMapper json, final String line) {
        final ObjectNode answer = json.createObjectNode();
        try {
            answer.set("records", Run.run(json, json.readTree(line)));
        } catch (final Exception error) {
            Throwable cause = error;
            while (cause.getCause() != null) {
                cause = cause.getCause();
            }
            answer.put("error", error + (cause == error ? "" : ": " + cause));
        }
        return answer;
    }
}
