import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse.BodyHandlers;

/** Sends 100 requests with the JDK's client in its default configuration, which prefers HTTP/2 and so offers h2c. */
class Ask {
    public static void main(String[] arguments) throws Exception {
        var client = HttpClient.newHttpClient();
        var request = HttpRequest.newBuilder(URI.create(arguments[0])).build();
        for (int number = 0; number < 100; number++) {
            var answer = client.send(request, BodyHandlers.ofByteArray());
            if (answer.statusCode() != 200 || answer.version() != HttpClient.Version.HTTP_1_1) {
                throw new IllegalStateException(number + ": " + answer + " " + answer.version());
            }
        }
        System.out.println("ok");
        // Do not exit before the caller has counted the connections.
        System.in.read();
    }
}
